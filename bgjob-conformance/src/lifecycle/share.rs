//! Several dispatchers on one store.

use bgjob::Priority;

use super::Bundle;

/// Each dispatcher has one slot, and neither job ends before both have started.
pub(super) async fn two_dispatchers_work_at_the_same_time(bundle: &Bundle) {
    let a = bundle
        .worker_with("a", |builder| builder.default_slots(1))
        .await;
    let b = bundle
        .worker_with("b", |builder| builder.default_slots(1))
        .await;
    let jobs = [bundle.enqueue("meet").await, bundle.enqueue("meet").await];
    let mut places = Vec::new();
    for job in &jobs {
        places.push(job.result().await.expect("it succeeds"));
        let starts = a.place.starts(job.id()) + b.place.starts(job.id());
        assert_eq!(starts, 1);
    }
    places.sort_by_key(ToString::to_string);
    assert_eq!(places, ["a", "b"]);
    a.end().await;
    b.end().await;
}

/// A process may remember which kinds of jobs there are. Here it always has enough jobs of the
/// kinds that it knows.
pub(super) async fn an_urgent_job_of_a_new_kind_waits_for_no_backlog(bundle: &Bundle) {
    let worker = bundle
        .worker_with("a", |builder| builder.default_slots(1))
        .await;
    let known = bundle.enqueue("slow").await;
    known.result().await.expect("it succeeds");
    // Holds the slot until all jobs are enqueued.
    let first = bundle.enqueue("gated").await;
    worker.place.started(first.id()).await;
    let mut backlog = Vec::new();
    for _ in 0..30 {
        backlog.push(bundle.enqueue("slow").await);
    }
    let urgent = bundle.new_job("echo", 7).priority(Priority::High);
    let urgent = urgent.await.expect("the store takes it");
    worker.place.open();
    for job in &backlog {
        job.result().await.expect("it succeeds");
    }
    assert_eq!(urgent.result().await.expect("it succeeds"), 7);
    if bundle.urgent_go_first() {
        let order = worker.place.order();
        assert_ne!(order.last(), Some(&urgent.id()), "it was the last");
    }
    // The worker may have given back jobs that it took ahead while the slot was busy.
    worker.shutdown().await;
}
