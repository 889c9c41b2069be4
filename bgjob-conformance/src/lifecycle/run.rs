//! A job starts when it is due, and ends once.

use std::time::Duration;

use bgjob::JobState;

use super::Bundle;

pub(super) async fn each_job_ends_once_with_its_result(bundle: &Bundle) {
    let worker = bundle.worker("a").await;
    let mut jobs = Vec::new();
    for n in 0..50 {
        let job = bundle.new_job("echo", n).await;
        jobs.push((n, job.expect("the store takes it")));
    }
    for (n, job) in &jobs {
        assert_eq!(job.result().await.expect("it succeeds"), *n);
    }
    for (_, job) in &jobs {
        assert_eq!(worker.place.starts(job.id()), 1);
        assert_eq!(job.status().await.expect("it is kept"), JobState::Succeeded);
    }
    worker.end().await;
}

pub(super) async fn a_delayed_job_starts_at_its_time(bundle: &Bundle) {
    let worker = bundle.worker("a").await;
    let delay = Duration::from_secs(3600);
    let delayed = bundle.new_job("echo", 7).delay(delay);
    let delayed = delayed.await.expect("the store takes it");
    let sooner = bundle.enqueue("echo").await;
    sooner.ended().await.expect("it ends");
    assert_eq!(
        delayed.status().await.expect("it is there"),
        JobState::Ready
    );
    let almost = bundle.new_job("echo", 8).delay(Duration::from_millis(500));
    let almost = almost.await.expect("the store takes it");
    assert_eq!(almost.result().await.expect("it succeeds"), 8);
    bundle.advance(delay).await;
    // The worker checks that it was not too early.
    assert_eq!(delayed.result().await.expect("it succeeds"), 7);
    worker.end().await;
}

/// L4. The best of five jobs counts, as the machine may be busy. The delay is longer than any
/// worker needs to learn of a job that another process has stored.
pub(super) async fn a_delay_of_another_process_ends_within_its_promise(bundle: &Bundle) {
    let worker = bundle.worker("a").await;
    let mut jobs = Vec::new();
    for n in 0..5 {
        let delay = Duration::from_millis(2_500 + 200 * u64::from(n));
        let job = bundle.new_job("echo", n).delay(delay).await;
        jobs.push(job.expect("the store takes it"));
    }
    for job in jobs {
        job.result().await.expect("it succeeds");
    }
    let late = worker.place.least_late().expect("all five began");
    assert!(late <= bundle.promised(), "{late:?} late");
    worker.end().await;
}

/// A worker may hear of a job that another process has stored only at its next look, which comes
/// within two seconds. The rest of the limit is for a busy machine.
pub(super) async fn a_short_delay_of_another_process_is_heard_of_soon(bundle: &Bundle) {
    let worker = bundle.worker("a").await;
    for n in 0..3 {
        let job = bundle
            .new_job("echo", n)
            .delay(Duration::from_millis(300))
            .await;
        let job = job.expect("the store takes it");
        job.result().await.expect("it succeeds");
    }
    let late = worker.place.least_late().expect("all three began");
    assert!(late <= Duration::from_millis(2_500), "{late:?} late");
    worker.end().await;
}

pub(super) async fn an_error_is_tried_again(bundle: &Bundle) {
    let worker = bundle.worker("a").await;
    let job = bundle
        .new_job("flaky", 2)
        .await
        .expect("the store takes it");
    job.result().await.expect("the third attempt succeeds");
    let ended = job.job().await.expect("it is kept");
    assert_eq!((ended.errors, ended.crashes), (2, 0));
    assert_eq!(worker.place.starts(job.id()), 3);
    worker.end().await;
}

pub(super) async fn too_many_errors_end_it(bundle: &Bundle) {
    let worker = bundle.worker("a").await;
    let job = bundle.new_job("flaky", 9).max_attempts(2);
    let job = job.await.expect("the store takes it");
    let ended = job.ended().await.expect("it ends");
    assert_eq!((ended.state(), ended.errors), (JobState::Dead, 2));
    assert_eq!(worker.place.starts(job.id()), 2);
    worker.end().await;
}
