//! Connections that are cut between a program at work and its server.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use bgjob::JobManager;

use crate::{
    servers::proxy::Proxy,
    support::{Told, all_succeed, count_at, database, dispatcher, enqueue, server, soon, url},
};

/// How often somebody plays a trick with a connection.
const TRICKS: usize = 30;

/// Enqueues and runs jobs through a proxy that tricks are played with. Answers the URL of the
/// database that they are in.
async fn work_on(trick: impl AsyncFn(&Proxy, &Told)) -> String {
    let proxy = Proxy::start(server()).await;
    let database = database().await;
    let jobs = JobManager::connect(proxy.url(&database)).await;
    let jobs = jobs.expect("it answers");
    let told = Arc::<Told>::default();
    let running = dispatcher(&jobs, &told).start().await;
    let running = running.expect("it starts");
    let enough = Arc::<AtomicBool>::default();
    let load = tokio::spawn(load(jobs, Arc::clone(&enough)));
    for _ in 0..TRICKS {
        soon(trick(&proxy, &told)).await;
    }
    enough.store(true, Relaxed);
    let made = load.await.expect("no panic");
    let url = url(&database);
    let direct = JobManager::connect(url.clone()).await;
    all_succeed(&direct.expect("it answers"), 0..made).await;
    running.shutdown().await;
    told.each_once(made);
    let stored = count_at(&url, "SELECT count(*) FROM bgjob.history").await;
    assert_eq!(stored, made as i64);
    url
}

/// Enqueues until it is enough, never far ahead of those who run the jobs. Answers how many.
async fn load(jobs: JobManager, enough: Arc<AtomicBool>) -> u64 {
    const BATCH: u64 = 50;
    let mut made = 0;
    while !enough.load(Relaxed) {
        enqueue(&jobs, made..made + BATCH).await;
        made += BATCH;
        all_succeed(&jobs, made - 1..made).await;
    }
    made
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_done_and_not_heard_is_done_once() {
    let dice = Mutex::new(fastrand::Rng::with_seed(1));
    let trick = async |proxy: &Proxy, _: &Told| {
        let nth = dice.lock().unwrap().u64(1..=8);
        proxy.until_swallowed(nth).await;
    };
    let url = work_on(trick).await;
    // What nobody heard was asked for again: nothing was left to its lease.
    let crashed = "SELECT count(*) FROM bgjob.history WHERE past IS NOT NULL";
    assert_eq!(count_at(&url, crashed).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_cut_off_anywhere_is_done_once() {
    let trick = async |proxy: &Proxy, told: &Told| {
        told.more(20).await;
        proxy.cut();
    };
    work_on(trick).await;
}
