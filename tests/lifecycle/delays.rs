//! Delayed jobs start when they are due: never early, at most 100 ms late.

use std::time::{Duration, SystemTime};

use bgjob::Due;
use tokio::time::Instant;

use crate::support::{Call, Probe, World, jobs::*, millis, pass, secs, slow};

const LATE: Duration = Duration::from_millis(100);

async fn check_start(world: &World, id: bgjob::JobId, due: Instant) {
    let start = world.log.started(id, 1).await;
    let range = due - millis(1)..=due + LATE;
    let late = start.checked_duration_since(due);
    assert!(range.contains(&start), "late by {late:?} (or early)");
}

#[tokio::test(start_paused = true)]
async fn a_delayed_job_starts_when_it_is_due() {
    let world = World::new();
    let _running = world.start(registry(), &Probe::new()).await;
    for ms in [1, 70, 3_456, 600_000] {
        let due = Instant::now() + millis(ms);
        let job = echo::enqueue(&world.jobs, 1)
            .delay(millis(ms))
            .await
            .unwrap();
        check_start(&world, job.id(), due).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_time_of_day_is_as_good_as_a_delay_and_the_past_means_now() {
    let world = World::new();
    let _running = world.start(registry(), &Probe::new()).await;
    let now = SystemTime::UNIX_EPOCH + millis(1_700_000_000_000) + world.elapsed();
    let due = Instant::now() + secs(90);
    let job = echo::enqueue(&world.jobs, 1)
        .at(now + secs(90))
        .await
        .unwrap();
    check_start(&world, job.id(), due).await;
    let job = echo::enqueue(&world.jobs, 1)
        .at(SystemTime::UNIX_EPOCH)
        .await
        .unwrap();
    check_start(&world, job.id(), Instant::now()).await;
}

#[tokio::test(start_paused = true)]
async fn a_shorter_delay_that_comes_later_is_not_overslept() {
    let world = World::new();
    let _running = world.start(registry(), &Probe::new()).await;
    let late = echo::enqueue(&world.jobs, 1).delay(secs(3)).await.unwrap();
    pass(millis(100)).await;
    let due = Instant::now() + millis(700);
    let soon = echo::enqueue(&world.jobs, 1)
        .delay(millis(700))
        .await
        .unwrap();
    check_start(&world, soon.id(), due).await;
    check_start(&world, late.id(), world.begun + secs(3)).await;
}

#[tokio::test(start_paused = true)]
async fn a_job_that_is_rescheduled_starts_at_its_new_time() {
    let world = World::new();
    let _running = world.start(registry(), &Probe::new()).await;
    let job = echo::enqueue(&world.jobs, 1)
        .delay(secs(3600))
        .await
        .unwrap();
    pass(secs(20)).await;
    let due = Instant::now() + secs(2);
    world
        .jobs
        .reschedule(job.id(), Due::After(secs(2)))
        .await
        .unwrap();
    check_start(&world, job.id(), due).await;
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_that_wait_do_not_disturb() {
    let world = World::new();
    let _running = world.start(registry(), &Probe::new()).await;
    echo::enqueue_all(&world.jobs, 0..10_000)
        .delay(secs(36_000))
        .await
        .unwrap();
    pass(secs(60)).await;
    let before = world.store.faults().count(Call::ClaimReady);
    pass(secs(60)).await;
    let claims = world.store.faults().count(Call::ClaimReady) - before;
    assert!(claims <= 20, "{claims} claims in an idle minute");
    let due = Instant::now();
    let job = echo::enqueue(&world.jobs, 1).await.unwrap();
    check_start(&world, job.id(), due).await;
}

/// Queue `a` is never empty and every call takes a while, so the dispatcher is never idle. What is
/// due in queue `b`, and what is new there, is for slots that are free.
#[tokio::test(start_paused = true)]
async fn a_busy_queue_does_not_hold_up_a_quiet_one() {
    let world = World::new();
    let claims = &[Call::ClaimReady, Call::FinishAndClaim, Call::Finish];
    world.store.faults().always(claims, slow(millis(3)));
    let probe = Probe::new();
    let builder = world.dispatcher(registry()).state(probe.clone());
    let builder = builder.slots("a", 2).slots("b", 2);
    let _running = builder.start().await.unwrap();
    takes::enqueue_all(&world.jobs, vec![1; 20_000])
        .queue("a")
        .await
        .unwrap();
    pass(secs(1)).await;
    for delay in [0, 250, 2_000, 4_500] {
        let due = Instant::now() + millis(delay);
        let job = echo::enqueue(&world.jobs, 1)
            .queue("b")
            .delay(millis(delay))
            .await
            .unwrap();
        check_start(&world, job.id(), due).await;
    }
    assert!(
        world.count(bgjob::JobState::Ready).await > 0,
        "`a` was busy all the time"
    );
}
