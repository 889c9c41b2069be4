//! Waiting for results.

use bgjob::{ErrorKind, JobError, JobState, job};

use crate::support::{Call, Probe, World, jobs::*, millis, secs, within};

#[tokio::test(start_paused = true)]
async fn a_result_wakes_whoever_waits_and_is_not_polled_for() {
    let world = World::new();
    let _running = world.start(registry(), &Probe::new()).await;
    let job = takes::enqueue(&world.jobs, 60_000).await.unwrap();
    let waiters: Vec<_> = (0..3)
        .map(|_| {
            let job = job.clone();
            tokio::spawn(async move { job.result().await })
        })
        .collect();
    for waiter in waiters {
        waiter.await.unwrap().unwrap();
    }
    assert!(world.elapsed() < millis(60_100), "{:?}", world.elapsed());
    // A look every five seconds, should a wake-up get lost, and no more.
    let looks = world.store.faults().count(Call::Get);
    assert!(looks <= 3 * 15, "{looks} looks");
}

#[tokio::test(start_paused = true)]
async fn a_result_that_does_not_come_in_time_is_a_timeout() {
    let world = World::new();
    let job = echo::enqueue(&world.jobs, 1).await.unwrap();
    let error = job.result_within(secs(3)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert_eq!(error.job_id(), Some(job.id()));
    assert_eq!(world.elapsed().as_secs(), 3);
    assert_eq!(job.status().await.unwrap(), JobState::Ready);
}

#[tokio::test(start_paused = true)]
async fn a_job_kept_for_no_time_has_no_result_to_wait_for() {
    let world = World::new();
    let job = echo::enqueue(&world.jobs, 1).retain(secs(0)).await.unwrap();
    // At once, before it has run.
    let error = within(secs(0), job.result()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("retain"), "{error}");
    let _running = world.start(registry(), &Probe::new()).await;
    world.log.recorded(job.id()).await;
    assert_eq!(job.status().await.unwrap_err().kind(), ErrorKind::NotFound);
    // A repeated create can't run it again.
    let again = echo::enqueue(&world.jobs, 1)
        .retain(secs(0))
        .id(job.id())
        .await
        .unwrap();
    assert!(again.already_existed());
    assert_eq!(world.count(JobState::Ready).await, 0);
}

#[job(name = "hopeless")]
async fn hopeless(_: ()) -> Result<u32, JobError> {
    Err(JobError::abort("the card is stolen"))
}

#[tokio::test(start_paused = true)]
async fn a_dead_job_says_why() {
    let world = World::new();
    let _running = world
        .start(registry().with::<hopeless>(), &Probe::new())
        .await;
    let job = hopeless::enqueue(&world.jobs, ()).await.unwrap();
    let error = job.result().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::JobDead);
    assert_eq!(error.job_id(), Some(job.id()));
    let source = std::error::Error::source(&error).expect("the last error is the cause");
    assert_eq!(source.to_string(), "the card is stolen");
}

#[tokio::test(start_paused = true)]
async fn a_result_of_another_type_is_refused() {
    let world = World::new();
    let _running = world.start(registry(), &Probe::new()).await;
    let job = echo::enqueue(&world.jobs, 1).await.unwrap();
    job.result().await.unwrap();
    let other = world.jobs.handle::<String>(job.id());
    assert_eq!(
        other.result().await.unwrap_err().kind(),
        ErrorKind::InvalidInput
    );
    assert_eq!(
        world.jobs.handle::<u32>(job.id()).result().await.unwrap(),
        1
    );
}

#[job(name = "large_result", backoff = "constant(1s)", max_attempts = 2)]
async fn large_result(_: ()) -> Result<String, JobError> {
    Ok("x".repeat(100_000))
}

#[tokio::test(start_paused = true)]
async fn a_result_that_is_too_large_ends_the_job_at_once() {
    let world = World::new();
    let _running = world
        .start(registry().with::<large_result>(), &Probe::new())
        .await;
    let job = large_result::enqueue(&world.jobs, ()).await.unwrap();
    let error = job.result().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::JobDead);
    // Another try would only have the same effects again.
    assert_eq!(world.job(job.id()).await.errors, 1);
}
