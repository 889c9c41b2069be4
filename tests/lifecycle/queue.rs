//! With a queue beside the store: hints, lost hints, and a queue that is down.

use bgjob::{JobManager, JobQueue, JobState, Part, Via};

use crate::support::{Call, Fault, Probe, What, World, jobs::*, millis, pass, secs, slow};

#[tokio::test(start_paused = true)]
async fn a_hint_leads_to_a_claim_at_once_and_is_acknowledged() {
    let world = World::with_queue();
    let _running = world.start(registry(), &Probe::new()).await;
    pass(secs(10)).await;
    let begun = tokio::time::Instant::now();
    let job = echo::enqueue(&world.jobs, 1).await.unwrap();
    assert_eq!(job.result().await.unwrap(), 1);
    assert!(begun.elapsed() < millis(10), "{:?}", begun.elapsed());
    world
        .log
        .wait(|what| *what == What::Claimed(1, Via::Hint))
        .await;
    let queue = world.queue.as_ref().unwrap();
    assert_eq!(queue.faults().count(Call::Ack), 1);
    assert_eq!(world.wipe("default").await, 0);
}

#[tokio::test(start_paused = true)]
async fn many_hints_lead_to_as_many_ends() {
    let world = World::with_queue();
    let _running = world.start(registry(), &Probe::new()).await;
    let jobs = echo::enqueue_all(&world.jobs, 0..5_000).await.unwrap();
    for (n, job) in (0..).zip(&jobs) {
        assert_eq!(job.result().await.unwrap(), n);
        assert_eq!(world.log.starts(job.id()).len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn hints_that_come_twice_at_once_start_a_job_once() {
    let world = World::with_queue();
    let queue = world.queue.clone().unwrap();
    queue.faults().always(&[Call::Push], Fault::Twice);
    let mut jobs = Vec::new();
    for n in 0..3 {
        jobs.push(echo::enqueue(&world.jobs, n).await.unwrap());
    }
    assert_eq!(queue.inner().depth("default").await.unwrap(), 6);
    let _running = world.start(registry(), &Probe::new()).await;
    for job in &jobs {
        job.result().await.unwrap();
    }
    pass(secs(60)).await;
    for job in &jobs {
        assert_eq!(world.log.starts(job.id()).len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_hint_costs_an_idle_worker_three_seconds_at_most() {
    let world = World::with_queue();
    let queue = world.queue.clone().unwrap();
    let _running = world.start(registry(), &Probe::new()).await;
    for n in 0..10 {
        pass(millis(1_000 + 137 * n)).await;
        // The hint is taken in and forgotten.
        queue.faults().always(&[Call::Push], Fault::Before);
        let begun = tokio::time::Instant::now();
        let job = echo::enqueue(&world.jobs, 1).await.unwrap();
        queue.faults().heal();
        job.result().await.unwrap();
        assert!(begun.elapsed() <= secs(3), "{:?}", begun.elapsed());
    }
    assert_eq!(world.log.count(|what| *what == What::PushFailed(1)), 10);
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_was_wiped_is_made_up_for() {
    let world = World::with_queue();
    let jobs = echo::enqueue_all(&world.jobs, 0..500).await.unwrap();
    assert_eq!(world.wipe("default").await, 500);
    let begun = tokio::time::Instant::now();
    let _running = world.start(registry(), &Probe::new()).await;
    for job in jobs {
        job.result().await.unwrap();
    }
    assert!(begun.elapsed() <= secs(3), "{:?}", begun.elapsed());
}

/// The same where some jobs have hints all the time, and the worker slots to spare.
#[tokio::test(start_paused = true)]
async fn a_lost_hint_costs_no_more_beside_hints_that_come() {
    let world = World::with_queue();
    let without = JobManager::builder(world.store.clone()).build().unwrap();
    let _running = world.start(registry(), &Probe::new()).await;
    for every in [10, 300] {
        let others = hinted(&world, every);
        pass(secs(2)).await;
        let begun = tokio::time::Instant::now();
        let job = echo::enqueue(&without, 1).await.unwrap();
        world.log.started(job.id(), 1).await;
        let took = begun.elapsed();
        assert!(took <= secs(3), "{took:?}, a hint every {every} ms");
        others.abort();
    }
}

/// A short job every so many milliseconds, with its hint.
fn hinted(world: &World, every: u64) -> tokio::task::JoinHandle<()> {
    let jobs = world.jobs.clone();
    tokio::spawn(async move {
        loop {
            pass(millis(every)).await;
            echo::enqueue(&jobs, 1).await.unwrap();
        }
    })
}

/// Jobs that no slot can take ahead.
#[tokio::test(start_paused = true)]
async fn a_backlog_without_hints_keeps_every_slot_busy() {
    for others in [false, true] {
        let world = World::with_queue();
        let jobs = takes::enqueue_all(&world.jobs, (0..200).map(|_| 100));
        let jobs = jobs.await.unwrap();
        assert_eq!(world.wipe("default").await, 200);
        let _others = others.then(|| hinted(&world, 400));
        let begun = tokio::time::Instant::now();
        let dispatcher = world.dispatcher(registry()).state(Probe::new());
        // Nothing is ever in the other one.
        let dispatcher = dispatcher.serve_queues(["default", "other"]);
        let _running = dispatcher.default_slots(4).start().await.unwrap();
        for job in jobs {
            job.result().await.unwrap();
        }
        // Five seconds of work, after those that an idle worker may take to miss its hints.
        let took = begun.elapsed();
        assert!(took <= secs(8), "{took:?}, hints of others: {others}");
    }
}

/// The worker looks into the store while hints at other jobs are on their way.
#[tokio::test(start_paused = true)]
async fn beside_a_slow_queue_nobody_takes_more_than_its_slots() {
    let world = World::with_queue();
    let without = JobManager::builder(world.store.clone()).build().unwrap();
    let mut jobs = Vec::new();
    for manager in [&without, &world.jobs, &world.jobs] {
        let more = takes::enqueue_all(manager, [10_000; 4]).await.unwrap();
        jobs.extend(more);
    }
    let queue = world.queue.clone().unwrap();
    queue.faults().always(&[Call::Receive], slow(millis(80)));
    let dispatcher = world.dispatcher(registry()).state(Probe::new());
    let running = dispatcher.default_slots(4).start().await.unwrap();
    while world.count(JobState::Succeeded).await < 12 {
        pass(millis(250)).await;
        let held = world.count(JobState::Running).await;
        assert!(held <= 4, "{held} are held");
    }
    assert_eq!(running.shutdown().await.released, 0);
    assert!(world.elapsed() <= secs(35), "{:?}", world.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_is_due_for_long_is_hinted_at_again_ever_more_seldom() {
    let world = World::with_queue();
    // Nobody serves this one here, so only the sweeper's hints are seen.
    world.jobs.enqueue_raw("unknown", 1).await.unwrap();
    let _running = world.start(registry(), &Probe::new()).await;
    let rehints = || world.log.count(|what| matches!(what, What::Rehinted(_)));
    pass(secs(60)).await;
    let first = rehints();
    assert!((1..=4).contains(&first), "{first}");
    pass(secs(3_540)).await;
    let hour = rehints();
    assert!((first + 1..=15).contains(&hour), "{hour}");
}

/// Pushes and receives fail for ten minutes.
#[tokio::test(start_paused = true)]
async fn a_queue_that_is_down_is_told_and_worked_around() {
    let world = World::with_queue();
    let queue = world.queue.clone().unwrap();
    let running = world.start(registry(), &Probe::new()).await;
    pass(secs(5)).await;
    queue.faults().always(&[], Fault::Before);
    for n in 0..60 {
        let begun = tokio::time::Instant::now();
        let job = echo::enqueue(&world.jobs, n)
            .await
            .expect("a queue is no reason to refuse");
        assert_eq!(job.result().await.unwrap(), n);
        assert!(begun.elapsed() <= secs(3), "{:?}", begun.elapsed());
        pass(secs(10)).await;
        let health = running.health();
        assert!(
            health
                .queue_down_for
                .is_some_and(|span| span > secs(5 * u64::from(n)))
        );
        assert!(health.is_good(), "the jobs run");
    }
    queue.faults().heal();
    world.log.wait(|what| *what == What::Up(Part::Queue)).await;
    assert_eq!(running.health().queue_down_for, None);
    assert_eq!(world.log.count(|what| *what == What::Down(Part::Queue)), 1);
    let job = echo::enqueue(&world.jobs, 1).await.unwrap();
    job.result_within(millis(10))
        .await
        .expect("by a hint again");
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_is_down_at_the_start_is_no_reason_not_to_start() {
    let world = World::with_queue();
    world
        .queue
        .as_ref()
        .unwrap()
        .faults()
        .always(&[], Fault::Hang);
    let job = echo::enqueue(&world.jobs, 1).await.unwrap();
    let _running = world.start(registry(), &Probe::new()).await;
    job.result_within(secs(15)).await.unwrap();
}

/// Each hint is delivered three times over.
#[tokio::test(start_paused = true)]
async fn doubled_hints_are_dropped() {
    let world = World::with_queue();
    let queue = world.queue.clone().unwrap();
    let probe = Probe::new();
    let _running = world.start(registry(), &probe).await;
    let job = gated::enqueue(&world.jobs, "once".to_owned())
        .await
        .unwrap();
    world.log.started(job.id(), 1).await;
    let hint = bgjob::queue::Hint::new(job.id(), "default", bgjob::Priority::Normal);
    queue.push(&[hint.clone(), hint.clone()]).await.unwrap();
    world.log.wait(|what| *what == What::HintsDropped(2)).await;
    probe.open(1);
    job.result().await.unwrap();
    queue.push(&[hint]).await.unwrap();
    world.log.wait(|what| *what == What::HintsDropped(1)).await;
    assert_eq!(world.log.starts(job.id()).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_claim_by_hint_whose_answer_is_lost_loses_nothing() {
    let world = World::with_queue();
    let _running = world.start(registry(), &Probe::new()).await;
    pass(secs(5)).await;
    world.store.faults().once(&[Call::Claim], Fault::After);
    let job = echo::enqueue(&world.jobs, 1).await.unwrap();
    job.result_within(secs(1)).await.unwrap();
    assert_eq!(world.log.starts(job.id()).len(), 1);
    assert_eq!(world.job(job.id()).await.crashes, 0);
}

/// The store does the claim, and is not heard of for a minute.
#[tokio::test(start_paused = true)]
async fn a_long_doubt_about_a_claim_by_hint_costs_no_crash() {
    let world = World::with_queue();
    let _running = world.start(registry(), &Probe::new()).await;
    pass(secs(5)).await;
    world.store.faults().always(&[], Fault::Before);
    world.store.faults().plan(|call, _| match call {
        Call::Claim => Fault::After,
        Call::Create => Fault::None,
        _ => Fault::Before,
    });
    let job = echo::enqueue(&world.jobs, 1).await.unwrap();
    pass(secs(20)).await;
    world.store.faults().heal();
    world.log.recorded(job.id()).await;
    let job = world.job(job.id()).await;
    assert_eq!((job.state(), job.crashes), (JobState::Succeeded, 0));
}

#[tokio::test(start_paused = true)]
async fn retries_and_delays_need_no_hint() {
    let world = World::with_queue();
    let _running = world.start(registry(), &Probe::new()).await;
    pass(secs(5)).await;
    for ms in [300, 2_000, 30_000] {
        let due = tokio::time::Instant::now() + millis(ms);
        let job = echo::enqueue(&world.jobs, 1)
            .delay(millis(ms))
            .await
            .unwrap();
        let start = world.log.started(job.id(), 1).await;
        assert!(start + millis(1) >= due);
        assert!(start <= due + millis(1_100), "late by {:?}", start - due);
    }
}
