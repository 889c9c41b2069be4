//! Jobs that are cancelled.

use std::time::Duration;

use bgjob::JobState;

use super::Bundle;

pub(super) async fn a_waiting_job_never_starts(bundle: &Bundle) {
    let minute = Duration::from_secs(60);
    let waiting = bundle.new_job("echo", 0).delay(minute);
    let waiting = waiting.await.expect("the store takes it");
    let state = waiting.cancel().await.expect("it is there");
    assert_eq!(state, JobState::Cancelled);
    bundle.advance(2 * minute).await;

    let worker = bundle.worker("a").await;
    let other = bundle.enqueue("echo").await;
    other.result().await.expect("it succeeds");
    let ended = waiting.job().await.expect("it is kept");
    assert_eq!(ended.state(), JobState::Cancelled);
    assert_eq!(worker.place.starts(waiting.id()), 0);
    worker.end().await;
}

/// Another process cancels the job. The worker learns of it when it renews.
pub(super) async fn a_running_job_hears_of_it(bundle: &Bundle) {
    let soon = Duration::from_secs(5);
    let worker = bundle.worker_with("a", |builder| builder.lease(soon)).await;
    let job = bundle.enqueue("obedient").await;
    worker.place.started(job.id()).await;
    let state = job.cancel().await.expect("it is there");
    assert_eq!(state, JobState::Running);
    let ended = job.ended().await.expect("it ends");
    assert_eq!((ended.state(), ended.crashes), (JobState::Cancelled, 0));
    assert_eq!(worker.place.starts(job.id()), 1);
    worker.end().await;
}
