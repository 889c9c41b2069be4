//! Connections that are cut between the store and its server, at the worst of moments.

use std::sync::Arc;

use bgjob::JobManager;

use crate::{
    servers::proxy::Proxy,
    support::{Told, all_succeed, count_at, database, dispatcher, enqueue, server, soon, url},
};

#[tokio::test(flavor = "multi_thread")]
async fn what_was_done_and_not_heard_is_done_once() {
    const JOBS: u64 = 3000;
    const BATCH: u64 = 50;
    let proxy = Arc::new(Proxy::start(server()).await);
    let database = database().await;
    let jobs = JobManager::connect(proxy.url(&database)).await;
    let jobs = jobs.expect("it answers");
    let told = Arc::<Told>::default();
    let running = dispatcher(&jobs, &told).start().await.expect("it starts");
    let load = tokio::spawn({
        let jobs = jobs.clone();
        async move {
            for n in (0..JOBS).step_by(BATCH as usize) {
                enqueue(&jobs, n..n + BATCH).await;
            }
        }
    });
    let mut dice = fastrand::Rng::with_seed(JOBS);
    let mut cuts = 0;
    while !load.is_finished() {
        soon(proxy.swallow(dice.u64(1..=8))).await;
        cuts += 1;
        if cuts % 8 == 0 {
            proxy.cut();
        }
    }
    load.await.expect("no panic");
    println!("{cuts} cuts");
    // From here on nothing is cut, so that all that is open comes to its end.
    let direct = JobManager::connect(url(&database)).await;
    let direct = direct.expect("it answers");
    all_succeed(&direct, 0..JOBS).await;
    let _ = running.shutdown().await;
    told.each_once(JOBS);
    let stored = count_at(&url(&database), "SELECT count(*) FROM bgjob.history").await;
    assert_eq!(stored, JOBS as i64);
}
