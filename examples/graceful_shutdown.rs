//! The way down: what runs may end, what does not is asked to, the rest goes back at no cost.
//!
//! `.run()` goes this way at SIGTERM or Ctrl-C; a second signal hurries. Here a future stands in
//! for the signal, so that the example ends by itself.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use bgjob::{Event, ShutdownReport, prelude::*};
use tokio::sync::{Notify, Semaphore};

/// Says how many jobs have begun, and that the way down has.
struct Signs {
    begun: Semaphore,
    draining: Notify,
}

/// Needs a moment more. It is not disturbed: a drain takes as long as it must, up to a limit.
#[job]
async fn letter(to: String, signs: State<Arc<Signs>>) -> Result<String, JobError> {
    signs.begun.add_permits(1);
    signs.draining.notified().await;
    Ok(format!("sent to {to}"))
}

/// Where the report stands: in a real program a row of a database.
struct Place(AtomicU32);

/// Takes long, and so listens: when it is asked to end it keeps its place.
#[job]
async fn report(
    pages: u32,
    signs: State<Arc<Signs>>,
    place: State<Arc<Place>>,
    ctx: JobContext,
) -> Result<u32, JobError> {
    let from = place.0.load(Relaxed);
    println!("report: from page {from}");
    for page in from..pages {
        place.0.store(page, Relaxed);
        if page == 3 && from == 0 {
            signs.begun.add_permits(1);
            ctx.cancelled().await;
        }
        if let Some(reason) = ctx.cancel_reason() {
            println!("report: stops at page {page} ({reason:?})");
            // At a shutdown this is no error: the job goes back as if it had not begun.
            return Err(JobError::retry("stopped"));
        }
    }
    Ok(pages)
}

/// Listens to nobody: it is dropped at its next await, and goes back too.
#[job]
async fn stubborn(_: (), signs: State<Arc<Signs>>, ctx: JobContext) -> Result<u64, JobError> {
    // The fence counts starts; the second one is quick, so that this example has an end.
    if ctx.fence() == 1 {
        signs.begun.add_permits(1);
        tokio::time::sleep(Duration::from_secs(3600)).await;
    }
    Ok(ctx.fence())
}

#[tokio::main]
async fn main() -> bgjob::Result<()> {
    let jobs = JobManager::connect("memory:").await?;
    let letter = letter::enqueue(&jobs, "Ada".to_owned()).await?;
    let report = report::enqueue(&jobs, 10).await?;
    let stubborn = stubborn::enqueue(&jobs, ()).await?;

    let signs = Arc::new(Signs {
        begun: Semaphore::new(0),
        draining: Notify::new(),
    });
    let place = Arc::new(Place(AtomicU32::new(0)));
    let all_begun = async {
        let permits = signs.begun.acquire_many(3).await;
        permits.expect("it is never closed").forget();
    };
    let drained: ShutdownReport = dispatcher(&jobs, &signs, &place)
        .run_until(all_begun)
        .await?;
    println!("drained {}, released {}", drained.drained, drained.released);
    println!("letter: {}", letter.result().await?);
    for job in [report.job().await?, stubborn.job().await?] {
        println!("{}: {}, errors: {}", job.spec.name, job.state(), job.errors);
    }

    // The next process goes on with what was given back.
    let next = dispatcher(&jobs, &signs, &place).start().await?;
    println!("report: {} pages", report.result().await?);
    println!("stubborn: done at start {}", stubborn.result().await?);
    // A result may be told a moment before its run counts as over: only what went back is sure.
    println!("released {}", next.shutdown().await.released);
    // As the result of `main`, a `ShutdownReport` is exit code 0, also where jobs were given back.
    Ok(())
}

fn dispatcher(
    jobs: &JobManager,
    signs: &Arc<Signs>,
    place: &Arc<Place>,
) -> bgjob::DispatcherBuilder {
    let heard = Arc::clone(signs);
    JobDispatcher::builder(jobs)
        .on_event(move |event| {
            if matches!(event, Event::Draining { .. }) {
                heard.draining.notify_one();
            }
        })
        .state(Arc::clone(signs))
        .state(Arc::clone(place))
        .drain(Duration::from_secs(1)) // 20 s unless told otherwise
        .cancel_within(Duration::from_millis(500)) // 3 s unless told otherwise
}
