//! Jobs that keep running are renewed.

use std::time::Duration;

use bgjob::job::Phase;

use super::Bundle;

/// Meanwhile another dispatcher looks for jobs whose lease has run out.
pub(super) async fn a_job_longer_than_its_lease_is_left_alone(bundle: &Bundle) {
    let lease = Duration::from_secs(6);
    let worker = bundle
        .worker_with("a", |builder| builder.lease(lease))
        .await;
    let job = bundle.enqueue("gated").await;
    worker.place.started(job.id()).await;
    let other = bundle.worker("b").await;
    let until = |phase: &Phase| match phase {
        Phase::Running(hold) => Some(hold.lease_until),
        _ => None,
    };
    let first = until(&job.job().await.expect("it is there").phase);
    let renewed = |phase: &Phase| until(phase) > first;
    bundle.until(job.id(), |job| renewed(&job.phase)).await;
    // A third of the lease had passed at the renewal. After this the first lease has run out, and
    // the second has not.
    bundle.advance(lease * 7 / 10).await;
    other.swept().await;
    worker.place.open();
    assert_eq!(job.result().await.expect("it succeeds"), "a");
    let ended = job.job().await.expect("it is kept");
    assert_eq!((ended.errors, ended.crashes), (0, 0));
    worker.end().await;
    other.end().await;
}
