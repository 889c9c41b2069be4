//! Several dispatchers on one store.

use super::Bundle;

/// Each has one slot, and neither job ends before both have started.
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
