//! Unique keys.

use super::Bundle;

pub(super) async fn of_one_key_one_job_lives(bundle: &Bundle) {
    let worker = bundle.worker("a").await;
    let keyed = || async {
        let job = bundle.new_job("gated", 0).unique_key("monthly report");
        job.await.expect("the store takes it")
    };
    let first = keyed().await;
    worker.place.started(first.id()).await;
    let again = keyed().await;
    assert_eq!((again.id(), again.existing()), (first.id(), true));
    worker.place.open();
    first.ended().await.expect("it ends");

    // Its key is free again.
    let next = keyed().await;
    assert!(next.id() != first.id() && !next.existing());
    next.ended().await.expect("it ends");
    assert_eq!(worker.place.starts(first.id()), 1);
    worker.end().await;
}
