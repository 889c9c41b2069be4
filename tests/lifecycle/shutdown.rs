//! The way down: drain, cancel, release, stop.

use bgjob::{JobState, ShutdownReport};

use crate::support::{Call, Fault, Probe, What, World, jobs::*, millis, pass, secs};

fn drained(drained: usize, released: usize, unknown: usize) -> ShutdownReport {
    ShutdownReport {
        drained,
        released,
        unknown,
    }
}

#[tokio::test(start_paused = true)]
async fn what_runs_may_end_and_nothing_new_begins() {
    let world = World::new();
    let running = world.start(registry(), &Probe::new()).await;
    let job = takes::enqueue(&world.jobs, 15_000).await.unwrap();
    world.log.started(job.id(), 1).await;
    running.begin_shutdown();
    let late = echo::enqueue(&world.jobs, 1).await.unwrap();
    pass(secs(1)).await;
    assert!(running.health().draining);
    assert_eq!(running.wait().await, drained(1, 0, 0));
    assert_eq!(world.state(job.id()).await, JobState::Succeeded);
    assert_eq!(world.state(late.id()).await, JobState::Ready);
    assert!(world.elapsed() < millis(15_100), "{:?}", world.elapsed());
    world.log.wait(|what| *what == What::Stopped(1, 0, 0)).await;
    world.log.wait(|what| *what == What::Draining(1)).await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_dispatcher_stops_at_once() {
    for build in [World::new, World::with_queue] {
        let world = build();
        let running = world.start(registry(), &Probe::new()).await;
        pass(secs(3)).await;
        assert_eq!(running.shutdown().await, drained(0, 0, 0));
        assert!(world.elapsed() < millis(3_100), "{:?}", world.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn what_does_not_end_is_asked_to_and_given_back_at_no_cost() {
    let world = World::new();
    let probe = Probe::new();
    let running = world.start(registry(), &probe).await;
    let polite = polite::enqueue(&world.jobs, ()).await.unwrap();
    let stubborn = stubborn::enqueue(&world.jobs, ()).await.unwrap();
    world.log.started(stubborn.id(), 1).await;
    let begun = tokio::time::Instant::now();
    assert_eq!(running.shutdown().await, drained(0, 2, 0));
    let took = begun.elapsed();
    assert!((secs(23)..secs(24)).contains(&took), "{took:?}");
    assert_eq!(probe.said(), ["Shutdown"]);
    assert_eq!(probe.running(), 0);
    for id in [polite.id(), stubborn.id()] {
        let job = world.job(id).await;
        assert_eq!(job.state(), JobState::Ready);
        assert_eq!((job.errors, job.crashes, job.history.len()), (0, 0, 0));
        let reason = bgjob::CancelReason::Shutdown;
        assert_eq!(
            world.log.count(|w| *w == What::CancelRequested(id, reason)),
            1
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_spans_are_as_they_were_set() {
    let world = World::new();
    let builder = world.dispatcher(registry()).state(Probe::new());
    let builder = builder.drain(secs(2)).cancel_within(secs(1));
    let running = builder.start().await.unwrap();
    let job = stubborn::enqueue(&world.jobs, ()).await.unwrap();
    world.log.started(job.id(), 1).await;
    let begun = tokio::time::Instant::now();
    assert_eq!(running.shutdown().await, drained(0, 1, 0));
    let took = begun.elapsed();
    assert!((secs(3)..millis(3_200)).contains(&took), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn asking_again_hurries() {
    let world = World::new();
    let running = world.start(registry(), &Probe::new()).await;
    let job = stubborn::enqueue(&world.jobs, ()).await.unwrap();
    world.log.started(job.id(), 1).await;
    running.begin_shutdown();
    pass(secs(1)).await;
    running.begin_shutdown();
    pass(millis(500)).await;
    assert_eq!(running.health().running, 1, "it has three seconds");
    running.begin_shutdown();
    let begun = tokio::time::Instant::now();
    assert_eq!(running.wait().await, drained(0, 1, 0));
    assert!(begun.elapsed() < millis(100), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_waits_in_hand_is_given_back_first_at_no_cost() {
    let world = World::new();
    let probe = Probe::new();
    let builder = world
        .dispatcher(registry())
        .state(probe.clone())
        .default_slots(1);
    let running = builder.start().await.unwrap();
    echo::enqueue_all(&world.jobs, 0..2_000).await.unwrap();
    world.all_over().await;
    let held = gated::enqueue_all(&world.jobs, vec!["x".to_owned(); 5])
        .await
        .unwrap();
    world.log.started(held[0].id(), 1).await;
    assert_eq!(running.health().waiting, 4, "taken ahead");
    running.begin_shutdown();
    pass(millis(10)).await;
    for job in &held[1..] {
        let job = world.job(job.id()).await;
        assert_eq!(
            (job.state(), job.errors, job.crashes),
            (JobState::Ready, 0, 0)
        );
    }
    probe.open(1);
    assert_eq!(running.wait().await, drained(1, 4, 0));
}

/// The drain is longer than the lease.
#[tokio::test(start_paused = true)]
async fn heartbeats_go_on_until_the_end() {
    let world = World::new();
    let builder = world
        .dispatcher(registry())
        .state(Probe::new())
        .drain(secs(300));
    let running = builder.start().await.unwrap();
    let job = takes::enqueue(&world.jobs, 200_000).await.unwrap();
    world.log.started(job.id(), 1).await;
    // Another one would take it away, if it could.
    let other = world
        .dispatcher(bgjob::Registry::new().with::<echo>())
        .start()
        .await
        .unwrap();
    assert_eq!(running.shutdown().await, drained(1, 0, 0));
    assert_eq!(world.state(job.id()).await, JobState::Succeeded);
    assert_eq!(world.job(job.id()).await.crashes, 0);
    other.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn an_end_the_store_does_not_confirm_is_unknown_and_holds_nobody_up() {
    for fault in [Fault::Before, Fault::Hang] {
        let world = World::new();
        let running = world.start(registry(), &Probe::new()).await;
        let job = takes::enqueue(&world.jobs, 1_000).await.unwrap();
        world.log.started(job.id(), 1).await;
        world.store.faults().always(&[], fault);
        pass(secs(60)).await;
        let begun = tokio::time::Instant::now();
        assert_eq!(running.shutdown().await, drained(0, 0, 1));
        assert!(begun.elapsed() <= secs(5), "{:?}", begun.elapsed());
    }
}

/// A disk that stalls, say: what was given back by then costs nothing.
#[tokio::test(start_paused = true)]
async fn a_store_that_is_slow_to_answer_is_waited_for() {
    let world = World::new();
    let builder = world.dispatcher(registry()).state(Probe::new());
    let builder = builder.drain(secs(1)).cancel_within(millis(500));
    let running = builder.start().await.unwrap();
    let job = stubborn::enqueue(&world.jobs, ()).await.unwrap();
    world.log.started(job.id(), 1).await;
    let (before, after) = (secs(3), millis(0));
    let slow = Fault::Slow { before, after };
    world.store.faults().always(&[Call::Finish], slow);
    let begun = tokio::time::Instant::now();
    assert_eq!(running.shutdown().await, drained(0, 1, 0));
    assert!(begun.elapsed() <= secs(6), "{:?}", begun.elapsed());
    let job = world.job(job.id()).await;
    assert_eq!((job.state(), job.crashes), (JobState::Ready, 0));
}

/// The answer to a claim is lost, and then the end comes.
#[tokio::test(start_paused = true)]
async fn a_claim_in_doubt_is_given_back_too() {
    let world = World::new();
    let running = world.start(registry(), &Probe::new()).await;
    pass(secs(1)).await;
    world
        .store
        .faults()
        .always(&[Call::ClaimReady], Fault::After);
    let job = echo::enqueue(&world.jobs, 1).await.unwrap();
    pass(millis(1)).await;
    assert_eq!(world.state(job.id()).await, JobState::Running);
    running.begin_shutdown();
    pass(millis(1)).await;
    world.store.faults().heal();
    let _ = running.wait().await;
    let job = world.job(job.id()).await;
    assert_eq!((job.state(), job.crashes), (JobState::Ready, 0));
}

/// The end comes while the store takes its time to answer a claim.
#[tokio::test(start_paused = true)]
async fn a_claim_on_its_way_is_given_back_too() {
    for (world, calls) in [
        (World::new(), &[Call::ClaimReady]),
        (World::with_queue(), &[Call::Claim]),
    ] {
        let running = world.start(registry(), &Probe::new()).await;
        pass(secs(1)).await;
        let (before, after) = (millis(0), millis(500));
        let fault = Fault::Slow { before, after };
        world.store.faults().always(calls, fault);
        let job = echo::enqueue(&world.jobs, 1).await.unwrap();
        pass(millis(100)).await;
        assert_eq!(world.state(job.id()).await, JobState::Running);
        assert_eq!(running.shutdown().await, drained(0, 1, 0));
        let job = world.job(job.id()).await;
        assert_eq!((job.state(), job.crashes), (JobState::Ready, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_given_back_is_hinted_at_for_others() {
    let world = World::with_queue();
    let first = world.start(registry(), &Probe::new()).await;
    let job = polite::enqueue(&world.jobs, ()).await.unwrap();
    world.log.started(job.id(), 1).await;
    let probe = Probe::new();
    let second = world.start(registry(), &probe).await;
    first.shutdown().await;
    let gone = tokio::time::Instant::now();
    world.log.started(job.id(), 2).await;
    assert!(gone.elapsed() < secs(1), "{:?}", gone.elapsed());
    second.begin_shutdown();
    second.begin_shutdown();
    let _ = second.wait().await;
}

#[tokio::test(start_paused = true)]
async fn it_runs_until_a_future_says_so() {
    let world = World::new();
    let job = echo::enqueue(&world.jobs, 1).await.unwrap();
    let builder = world.dispatcher(registry()).state(Probe::new());
    let end = builder.run_until(job.result()).await.unwrap();
    assert_eq!(end.unknown, 0);
    assert_eq!(job.result().await.unwrap(), 1);
}
