//! Leases: renewed for those who live, taken from those who don't.

use bgjob::{
    CancelReason, JobState, JobStore as _,
    job::{AttemptEnd, End, Json},
    store::{Ending, Finished},
};

use crate::support::{Call, Fault, Probe, What, World, jobs::*, millis, pass, secs};

#[tokio::test(start_paused = true)]
async fn a_job_of_ten_minutes_keeps_its_lease_of_thirty_seconds() {
    let world = World::new();
    let _running = world.start(registry(), &Probe::new()).await;
    let job = takes::enqueue(&world.jobs, 600_000).await.unwrap();
    job.result().await.unwrap();
    assert_eq!(world.log.starts(job.id()).len(), 1);
    assert_eq!(world.job(job.id()).await.crashes, 0);
    let renewals = world.store.faults().count(Call::Renew);
    assert!((50..=62).contains(&renewals), "{renewals} renewals");
}

#[tokio::test(start_paused = true)]
async fn a_short_job_costs_no_renewal() {
    let world = World::new();
    let _running = world.start(registry(), &Probe::new()).await;
    let jobs = takes::enqueue_all(&world.jobs, [8_000; 10]).await.unwrap();
    for job in jobs {
        job.result().await.unwrap();
    }
    assert_eq!(world.store.faults().count(Call::Renew), 0);
}

#[tokio::test(start_paused = true)]
async fn the_jobs_of_one_process_share_a_renewal() {
    let world = World::new();
    let builder = world
        .dispatcher(registry())
        .state(Probe::new())
        .default_slots(500);
    let _running = builder.start().await.unwrap();
    takes::enqueue_all(&world.jobs, vec![60_000; 500])
        .await
        .unwrap();
    world.all_over().await;
    let renewals = world.store.faults().count(Call::Renew);
    assert!(renewals <= 12, "{renewals} renewals");
}

/// Only the renewals fail. The job is given up before its lease ends, and nothing is said of it.
#[tokio::test(start_paused = true)]
async fn without_renewals_a_job_fences_itself() {
    for fault in [Fault::Before, Fault::Hang] {
        let world = World::new();
        let probe = Probe::new();
        let running = world.start(registry(), &probe).await;
        world.store.faults().always(&[Call::Renew], fault);
        let polite = polite::enqueue(&world.jobs, ()).await.unwrap();
        let stubborn = stubborn::enqueue(&world.jobs, ()).await.unwrap();
        for job in [polite.id(), stubborn.id()] {
            let lost = What::CancelRequested(job, CancelReason::LeaseLost);
            let (at, _) = world.log.wait(|what| *what == lost).await;
            let age = at - world.begun;
            assert!((secs(20)..secs(30)).contains(&age), "{age:?}");
        }
        pass(secs(1)).await;
        assert_eq!(probe.running(), 0, "both are dropped at once");
        let finishes = world.store.faults().count(Call::Finish)
            + world.store.faults().count(Call::FinishAndClaim);
        assert_eq!(finishes, 0);
        assert_eq!(world.state(polite.id()).await, JobState::Running);
        assert_eq!(running.health().running, 0);
        // The slots are free for others, and the sweeper does the rest.
        world.store.faults().heal();
        let next = echo::enqueue(&world.jobs, 1).await.unwrap();
        next.result_within(secs(1)).await.unwrap();
        world.log.started(polite.id(), 2).await;
        assert_eq!(world.job(polite.id()).await.crashes, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn one_renewal_that_fails_costs_nothing() {
    let world = World::new();
    let _running = world.start(registry(), &Probe::new()).await;
    world.store.faults().plan(|call, n| match call {
        Call::Renew if n % 3 != 0 => Fault::Before,
        _ => Fault::None,
    });
    let job = takes::enqueue(&world.jobs, 300_000).await.unwrap();
    job.result().await.unwrap();
    assert_eq!(world.log.starts(job.id()).len(), 1);
}

/// A process that was stopped for a minute finishes its job: too late, somebody took it away.
#[tokio::test(start_paused = true)]
async fn the_finish_of_a_zombie_is_lost() {
    let world = World::new();
    let job = echo::enqueue(&world.jobs, 1).await.unwrap();
    let zombie = world.claim_and_die(&[job.id()], &["echo"]).await.remove(0);
    let _running = world.start(registry(), &Probe::new()).await;
    assert_eq!(job.result().await.unwrap(), 1);
    let ending = Ending::new(
        job.id(),
        zombie.token,
        End::Success(Json::encode(&99).unwrap()),
    );
    let answer = world.store.finish(&[ending]).await.unwrap();
    assert_eq!(answer, [Finished::Lost]);
    assert_eq!(job.result().await.unwrap(), 1);
    let Some(AttemptEnd::Crashed { .. }) = world.job(job.id()).await.history.pop().map(|a| a.end)
    else {
        panic!("the crash is in the history");
    };
}

/// L2: lease, sweep and crash backoff, wherever in the sweeper's round the process died.
#[tokio::test(start_paused = true)]
async fn the_job_of_a_dead_process_starts_again_within_forty_seconds() {
    for n in 0..20 {
        let world = World::new();
        let job = takes::enqueue(&world.jobs, 1).await.unwrap();
        world.claim_and_die(&[job.id()], &["takes"]).await;
        let died = tokio::time::Instant::now();
        pass(millis(211 * n)).await;
        let _running = world.start(registry(), &Probe::new()).await;
        job.result().await.unwrap();
        let start = world.log.starts(job.id())[0] - died;
        assert!((secs(35)..=secs(40)).contains(&start), "{start:?}");
    }
}

/// Jobs that wait in a hand whose process lost its leases are not started any more: others may
/// have ended them by now.
#[tokio::test(start_paused = true)]
async fn what_waits_in_hand_is_not_started_once_its_lease_is_lost() {
    let world = World::new();
    let builder = world
        .dispatcher(registry())
        .state(Probe::new())
        .default_slots(1);
    let running = builder.start().await.unwrap();
    // So short that the hand takes many ahead; then each takes a while.
    echo::enqueue_all(&world.jobs, 0..2_000).await.unwrap();
    world.all_over().await;
    world.store.faults().always(&[Call::Renew], Fault::Before);
    let begun = tokio::time::Instant::now();
    let jobs = takes::enqueue_all(&world.jobs, [900; 40]).await.unwrap();
    world.log.started(jobs[0].id(), 1).await;
    assert_eq!(running.health().waiting, 39, "taken ahead");
    let last = What::CancelRequested(jobs[39].id(), CancelReason::LeaseLost);
    world.log.wait(|what| *what == last).await;
    pass(secs(2)).await;
    assert_eq!(running.health().waiting, 0);
    let starts = jobs.iter().flat_map(|job| world.log.starts(job.id()));
    let late = starts.filter(|start| *start - begun >= secs(28)).count();
    assert_eq!(late, 0);
    world.store.faults().heal();
    world.all_over().await;
    assert_eq!(world.count(JobState::Succeeded).await, 2_040);
}
