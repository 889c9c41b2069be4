//! Unique keys.

use bgjob::ErrorKind;

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
    assert_eq!((again.id(), again.already_existed()), (first.id(), true));
    worker.place.open();
    first.ended().await.expect("it ends");

    // The key is free again.
    let next = keyed().await;
    assert!(next.id() != first.id() && !next.already_existed());
    next.ended().await.expect("it ends");
    assert_eq!(worker.place.starts(first.id()), 1);
    worker.end().await;
}

pub(super) async fn a_key_belongs_to_its_function(bundle: &Bundle) {
    let own = |name| async move {
        let job = bundle.new_job(name, 0).unique_key("monthly report");
        job.await.expect("the store takes it")
    };
    let (first, other) = (own("gated").await, own("echo").await);
    assert!(first.id() != other.id() && !other.already_existed());
    let shared = |name| bundle.new_job(name, 0).shared_unique_key("monthly report");
    let first = shared("gated").await.expect("it is another key");
    assert!(!first.already_existed());
    let refused = shared("echo").await.expect_err("another function has it");
    assert_eq!(refused.kind(), ErrorKind::AlreadyExists);
    assert_eq!(refused.job_id(), Some(first.id()));
    assert!(refused.to_string().contains("`gated`"), "{refused}");
    let again = shared("gated").await.expect("it is its own");
    assert_eq!((again.id(), again.already_existed()), (first.id(), true));
}
