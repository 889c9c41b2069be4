//! A dispatcher that vanishes without notice.

use bgjob::{Due, JobHandle, JobState, Outcome};

use super::{Bundle, bundle::Worker};

pub(super) async fn its_jobs_are_taken_over(bundle: &Bundle) {
    let (gone, job) = lost(bundle).await;
    let next = taken_over(bundle, &job).await;
    next.end().await;
    assert_eq!(gone.place.starts(job.id()), 1);
}

/// The dispatcher was only frozen, and its job ends a second time.
pub(super) async fn one_that_comes_back_changes_nothing(bundle: &Bundle) {
    let (gone, job) = lost(bundle).await;
    let next = taken_over(bundle, &job).await;
    let before = job.job().await.expect("it is kept");
    gone.come_back();
    gone.place.open();
    gone.refused().await;
    assert_eq!(job.job().await.expect("it is kept"), before);
    gone.end().await;
    next.end().await;
}

/// A worker that vanished while it ran this job.
async fn lost(bundle: &Bundle) -> (Worker, JobHandle<Outcome<serde_json::Value>>) {
    // The lease thread would outlive the case.
    let worker = bundle.worker_with("a", |builder| builder.without_lease_thread());
    let worker = worker.await;
    let job = bundle.enqueue("gated").await;
    worker.place.started(job.id()).await;
    worker.vanish();
    (worker, job)
}

/// Another worker that finds the job and finishes it.
async fn taken_over(bundle: &Bundle, job: &JobHandle<Outcome<serde_json::Value>>) -> Worker {
    bundle.let_leases_end().await;
    let worker = bundle.worker("b").await;
    let crashed = bundle.until(job.id(), |job| job.crashes == 1).await;
    assert_eq!(crashed.state(), JobState::Ready);
    // Skip the backoff after the crash.
    let now = bundle.jobs.reschedule(job.id(), Due::Now).await;
    now.expect("it waits");
    worker.place.open();
    assert_eq!(job.result().await.expect("it succeeds"), "b");
    assert_eq!(worker.place.starts(job.id()), 1);
    let ended = job.job().await.expect("it is kept");
    assert_eq!((ended.errors, ended.crashes), (0, 1));
    worker
}
