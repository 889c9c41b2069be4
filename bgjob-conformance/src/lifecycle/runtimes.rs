//! Several runtimes that start and end around one manager.

use tokio::runtime::Builder;

use bgjob::{JobId, JobManager};

use super::Bundle;

/// The number of threads that make runtimes, and of runtimes that each makes.
const THREADS: u32 = 8;
const RUNTIMES: u32 = 10;

pub(super) async fn one_that_ends_fails_nobody_else_s_enqueue(bundle: &Bundle) {
    let threads = (0..THREADS).map(|thread| {
        let jobs = bundle.jobs.clone();
        tokio::task::spawn_blocking(move || {
            let ids = (0..RUNTIMES).map(|n| enqueued(&jobs, thread * RUNTIMES + n));
            ids.collect::<Vec<_>>()
        })
    });
    let mut ids = Vec::new();
    for thread in threads.collect::<Vec<_>>() {
        ids.extend(thread.await.expect("each enqueue is answered"));
    }
    // Every acknowledged job is there, once.
    let stored = bundle.store.get(&ids).await.expect("the store answers");
    assert!(stored.iter().all(Option::is_some), "{stored:?}");
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), (THREADS * RUNTIMES) as usize);
}

/// Enqueues one job in a runtime of its own. As the docs say, an enqueue whose result is unknown is
/// repeated with the same id.
fn enqueued(jobs: &JobManager, n: u32) -> JobId {
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime can be made");
    let mut enqueue = jobs.enqueue_raw("echo", n);
    for _ in 0..10 {
        match runtime.block_on(enqueue.into_future()) {
            Ok(job) => return job.id(),
            Err(error) => {
                assert!(error.is_retryable(), "it may be repeated: {error:?}");
                let id = error.job_id().expect("an error in doubt names its job");
                enqueue = jobs.enqueue_raw("echo", n).id(id);
            }
        }
    }
    panic!("ten tries are enough");
}
