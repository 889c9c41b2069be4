//! A store that fails: for minutes, in the middle of a call, or for one job for ever.

use bgjob::{JobState, Part};
use tokio::{sync::oneshot, time::Instant};

use crate::support::{Call, Fault, Probe, What, World, jobs::*, millis, pass, secs, slow};

#[tokio::test(start_paused = true)]
async fn a_store_that_is_down_for_ten_minutes_ends_nothing() {
    for fault in [Fault::Before, Fault::Hang] {
        let world = World::new();
        let probe = Probe::new();
        let running = world.start(registry(), &probe).await;
        let waiting = echo::enqueue(&world.jobs, 1).delay(secs(60)).await.unwrap();
        let ended = takes::enqueue(&world.jobs, 5_000).await.unwrap();
        world.log.started(ended.id(), 1).await;
        world.store.faults().always(&[], fault);
        pass(secs(600)).await;
        let health = running.health();
        assert!(
            health.store_down_for.is_some_and(|span| span > secs(500)),
            "{health:?}"
        );
        assert!(!health.is_good());
        world.store.faults().heal();
        let back = Instant::now();
        world.log.wait(|what| *what == What::Up(Part::Store)).await;
        assert_eq!(waiting.result().await.unwrap(), 1);
        let crashes = waiting.job().await.unwrap().crashes;
        assert_eq!(crashes, 0, "{fault:?}: {:?}", world.log.of(waiting.id()));
        ended.result().await.unwrap();
        let [early, late] = [ended.id(), waiting.id()].map(|id| world.log.of(id));
        assert!(
            back.elapsed() < secs(60),
            "{:?} after {fault:?}: {early:?} {late:?}",
            back.elapsed()
        );
        assert_eq!(world.log.count(|what| *what == What::Down(Part::Store)), 1);
        assert_eq!(world.log.count(|what| *what == What::Up(Part::Store)), 1);
        assert!(running.health().is_good());
    }
}

/// The claim is done, its answer is not heard, for longer than the lease.
#[tokio::test(start_paused = true)]
async fn a_claim_in_doubt_is_neither_lost_nor_run_twice() {
    for doubt in [0, 3, 20, 90] {
        let world = World::new();
        let _running = world.start(registry(), &Probe::new()).await;
        pass(secs(1)).await;
        world.store.faults().plan(move |call, _| match call {
            Call::ClaimReady => Fault::After,
            Call::Create => Fault::None,
            _ => Fault::Before,
        });
        let jobs = echo::enqueue_all(&world.jobs, 0..8).await.unwrap();
        pass(secs(doubt) + millis(1)).await;
        world.store.faults().heal();
        for (n, job) in (0..).zip(&jobs) {
            assert_eq!(job.result().await.unwrap(), n);
            assert_eq!(world.log.starts(job.id()).len(), 1);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_finish_in_doubt_is_applied_once() {
    for world in [World::new(), World::with_ends_beside(2)] {
        let builder = world.dispatcher(registry()).state(Probe::new());
        let running = builder.default_slots(5).start().await.unwrap();
        let slow = takes::enqueue_all(&world.jobs, [1_000; 10]).await.unwrap();
        world.log.started(slow[4].id(), 1).await;
        world
            .store
            .faults()
            .once(&[Call::Finish, Call::FinishAndClaim], Fault::After);
        for job in &slow {
            job.result().await.unwrap();
            assert_eq!(world.log.starts(job.id()).len(), 1);
        }
        pass(secs(10)).await;
        assert_eq!(running.health().unrecorded, 0);
        // That the answer was lost is told, so that nobody takes it for a lost lease.
        let doubtful = |what: &What| matches!(what, What::Recorded(_, _, true));
        assert!(world.log.count(doubtful) >= 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_result_the_store_refuses_for_ever_ends_the_attempt_as_an_error() {
    // All five twice, then two and three, then one of the two: refused; everything else is taken.
    // Where they are ended beside a claim, that is refused before.
    for (world, refusals) in [(World::new(), 4), (World::with_ends_beside(2), 5)] {
        let builder = world.dispatcher(registry()).state(Probe::new());
        let _running = builder.default_slots(5).start().await.unwrap();
        let jobs = takes::enqueue_all(&world.jobs, [1_000; 10]).await.unwrap();
        world.log.started(jobs[4].id(), 1).await;
        let mut refused = 0;
        world.store.faults().plan(move |call, _| match call {
            Call::Finish | Call::FinishAndClaim if refused < refusals => {
                refused += 1;
                Fault::Lasting
            }
            _ => Fault::None,
        });
        world.all_over().await;
        let mut errors = 0;
        for job in &jobs {
            let job = world.job(job.id()).await;
            assert_eq!(job.state(), JobState::Succeeded);
            errors += job.errors;
        }
        assert_eq!(errors, 1, "the culprit, and nobody else");
    }
}

/// Neither waits for the other where the store prefers that.
#[tokio::test(start_paused = true)]
async fn ends_are_recorded_while_a_claim_is_not_answered() {
    let world = World::with_ends_beside(2);
    let builder = world.dispatcher(registry()).state(Probe::new());
    let running = builder.default_slots(5).start().await.unwrap();
    let jobs = takes::enqueue_all(&world.jobs, [1_000; 10]).await.unwrap();
    world.log.started(jobs[4].id(), 1).await;
    world.store.faults().plan(|call, _| match call {
        Call::ClaimReady | Call::FinishAndClaim => Fault::Hang,
        _ => Fault::None,
    });
    pass(millis(1_100)).await;
    for job in &jobs[..5] {
        assert_eq!(world.job(job.id()).await.state(), JobState::Succeeded);
    }
    assert_eq!(running.health().unrecorded, 0);
}

/// What is on its way is driven while it waits.
#[tokio::test(start_paused = true)]
async fn a_recording_goes_on_while_the_loop_waits_after_a_failed_claim() {
    // No ends at all are not worth a call.
    for at_least in [0, 2] {
        let world = World::with_ends_beside(at_least);
        let builder = world.dispatcher(registry()).state(Probe::new());
        let _running = builder.default_slots(5).start().await.unwrap();
        let jobs = takes::enqueue_all(&world.jobs, [60_000; 2]).await.unwrap();
        world.log.started(jobs[1].id(), 1).await;
        let (told, begun) = oneshot::channel();
        let mut told = Some(told);
        world.store.faults().plan(move |call, _| match call {
            Call::ClaimReady | Call::FinishAndClaim => Fault::Before,
            Call::Finish => {
                told.take().map(|told| told.send(Instant::now()));
                slow(millis(300))
            }
            _ => Fault::None,
        });
        let begun = begun.await.unwrap();
        let recorded = |what: &What| matches!(what, What::Recorded(..));
        world.log.wait(recorded).await;
        assert_eq!(begun.elapsed(), millis(300));
    }
}

/// A bug of a provider costs no claim, no end of a job, and no loop.
#[tokio::test(start_paused = true)]
async fn a_call_that_panics_is_a_call_that_fails() {
    for fault in [Fault::Panic, Fault::PanicAfter] {
        for world in [
            World::new(),
            World::with_ends_beside(2),
            World::with_queue(),
        ] {
            let builder = world.dispatcher(registry()).state(Probe::new());
            let running = builder.default_slots(5).start().await.unwrap();
            // The second call of each kind, but for those that are the test's own.
            let plan = move |call, nth| {
                let own = matches!(call, Call::Create | Call::Get | Call::WaitEnded);
                if nth == 2 && !own { fault } else { Fault::None }
            };
            world.store.faults().plan(plan);
            if let Some(queue) = &world.queue {
                queue.faults().plan(plan);
            }
            // The longest is renewed, and ends alone.
            let long = takes::enqueue(&world.jobs, 60_000).await.unwrap();
            let mut jobs = takes::enqueue_all(&world.jobs, [1_000; 50]).await.unwrap();
            jobs.push(long);
            for job in &jobs {
                job.result().await.unwrap();
                assert_eq!(world.log.starts(job.id()).len(), 1);
                assert_eq!(world.job(job.id()).await.errors, 0);
            }
            // Each of them ends a wait.
            for n in 0..4 {
                let job = echo::enqueue(&world.jobs, n).await.unwrap();
                assert_eq!(job.result().await.unwrap(), n);
            }
            pass(secs(60)).await;
            let mut called = vec![Call::Finish, Call::Renew, Call::Sweep, Call::Purge];
            if let Some(queue) = &world.queue {
                called.push(Call::Claim);
                for call in [Call::Push, Call::Receive, Call::Ack] {
                    assert!(queue.faults().count(call) >= 2, "{call:?}");
                }
            } else {
                called.extend([Call::ClaimReady, Call::WaitReady]);
            }
            for call in called {
                assert!(world.store.faults().count(call) >= 2, "{call:?}");
            }
            let loops = |what: &What| matches!(what, What::LoopFailed(_));
            assert_eq!(world.log.count(loops), 0);
            let health = running.health();
            assert_eq!((health.unrecorded, health.store_down_for), (0, None));
        }
    }
}

/// One bug may pass; what is refused each time would hold up all others for ever.
#[tokio::test(start_paused = true)]
async fn an_end_that_makes_the_store_panic_each_time_is_an_error_of_the_attempt() {
    for (panics, errors) in [(1, 0), (2, 1)] {
        let world = World::new();
        let builder = world.dispatcher(registry()).state(Probe::new());
        let _running = builder.default_slots(1).start().await.unwrap();
        let job = takes::enqueue(&world.jobs, 1_000).await.unwrap();
        world.log.started(job.id(), 1).await;
        let mut left = panics;
        world.store.faults().plan(move |call, _| match call {
            Call::Finish | Call::FinishAndClaim if left > 0 => {
                left -= 1;
                Fault::Panic
            }
            _ => Fault::None,
        });
        job.result().await.unwrap();
        assert_eq!(world.job(job.id()).await.errors, errors);
    }
}

/// It is not asked again and again without a pause.
#[tokio::test(start_paused = true)]
async fn a_wait_that_fails_at_once_begins_again_after_a_pause() {
    for fault in [Fault::Before, Fault::Panic] {
        let world = World::new();
        let _running = world.start(registry(), &Probe::new()).await;
        pass(secs(1)).await;
        world.store.faults().always(&[Call::WaitReady], fault);
        pass(secs(60)).await;
        let claims = world.store.faults().count(Call::ClaimReady);
        assert!(claims < 150, "{claims}");
        let job = echo::enqueue(&world.jobs, 1).await.unwrap();
        assert_eq!(job.result().await.unwrap(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_sweep_that_fails_while_all_slots_are_busy_is_not_held_against_the_store_for_ever() {
    let world = World::new();
    let probe = Probe::new();
    let builder = world
        .dispatcher(registry())
        .state(probe.clone())
        .default_slots(1);
    let running = builder.start().await.unwrap();
    let job = gated::enqueue(&world.jobs, "x".to_owned()).await.unwrap();
    world.log.started(job.id(), 1).await;
    world.store.faults().once(&[Call::Sweep], Fault::Before);
    world
        .log
        .wait(|what| *what == What::UpkeepFailed("sweep"))
        .await;
    pass(secs(10)).await;
    assert_eq!(running.health().store_down_for, None);
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_tiny_jobs_of_several_queues_end_exactly_once() {
    let world = World::new();
    let queues = ["a", "b", "c", "default"];
    let builder = world.dispatcher(registry()).state(Probe::new());
    let builder = queues
        .iter()
        .fold(builder, |builder, queue| builder.slots(*queue, 7));
    let running = builder.start().await.unwrap();
    let mut jobs = Vec::new();
    for (n, queue) in (0..).zip(queues.iter().cycle().take(12)) {
        let batch = echo::enqueue_all(&world.jobs, n * 1000..(n + 1) * 1000).queue(*queue);
        jobs.extend(batch.await.unwrap());
    }
    world.all_over().await;
    assert_eq!(world.count(JobState::Succeeded).await, 12_000);
    assert_eq!(
        world
            .log
            .count(|what| matches!(what, What::AttemptStarted(_))),
        12_000
    );
    assert!(world.elapsed() < secs(5), "{:?}", world.elapsed());
    let health = running.health();
    assert_eq!(
        (health.running, health.waiting, health.unrecorded),
        (0, 0, 0)
    );
    running.shutdown().await;
}

/// Old jobs go although no lease is looked at, and the other way round; and the store is not down
/// that answers everything else.
#[tokio::test(start_paused = true)]
async fn a_step_of_the_upkeep_that_fails_stops_no_other() {
    for (calls, step) in [(&[Call::Sweep], "sweep"), (&[Call::Purge], "purge")] {
        let world = World::new();
        let running = world.start(registry(), &Probe::new()).await;
        let faults = world.store.faults();
        faults.always(calls, Fault::Before);
        let before = [Call::Sweep, Call::Purge].map(|call| faults.count(call));
        pass(secs(120)).await;
        let after = [Call::Sweep, Call::Purge].map(|call| faults.count(call));
        assert!(
            before < after && before[1] < after[1],
            "{before:?} {after:?}"
        );
        assert!(running.health().is_good(), "{:?}", running.health());
        assert_eq!(world.log.count(|what| *what == What::Down(Part::Store)), 0);
        let told = world.log.count(|what| *what == What::UpkeepFailed(step));
        assert!(told > 0, "{step}");
    }
}
