//! `timeout`, `deadline`, and handlers that can't be stopped.

use std::sync::{Arc, Condvar, Mutex};

use bgjob::{
    CancelReason, JobContext, JobState, State, Verdict, job,
    job::{AttemptEnd, DeadReason, FailureKind, How, Phase},
};

use crate::support::{Probe, What, World, jobs, millis, secs, within};

#[job(name = "slow", timeout = "60s", backoff = steady, max_attempts = 2)]
async fn slow(listens: bool, probe: State<Probe>, ctx: JobContext) -> Result<(), String> {
    let _inside = probe.enter();
    ctx.cancelled().await;
    probe.say(format!("{:?}", ctx.cancel_reason()));
    if !listens {
        std::future::pending::<()>().await;
    }
    Err("stopped".to_owned())
}

fn steady(_: u32) -> std::time::Duration {
    secs(10)
}

async fn check(listens: bool, ran: std::time::Duration) {
    let world = World::new();
    let probe = Probe::new();
    let _running = world.start(jobs::registry().with::<slow>(), &probe).await;
    let job = slow::enqueue(&world.jobs, listens).await.unwrap();
    let ended = job.ended().await.unwrap();
    assert_eq!((ended.state(), ended.errors), (JobState::Dead, 2));
    assert_eq!(probe.said(), ["Some(Timeout)"; 2]);
    assert_eq!(probe.running(), 0, "the handler was dropped");
    for attempt in &ended.history {
        let AttemptEnd::Failed(failure) = &attempt.end else {
            panic!("{attempt:?}");
        };
        assert_eq!(failure.kind, FailureKind::Timeout);
        let took = attempt.ended_at.since(attempt.claimed_at);
        assert!((ran..ran + millis(100)).contains(&took), "{took:?}");
    }
    let starts = world.log.starts(job.id());
    let gap = starts[1] - starts[0];
    assert!((ran + secs(10)..ran + secs(11)).contains(&gap), "{gap:?}");
    let asked = What::CancelRequested(job.id(), CancelReason::Timeout);
    assert_eq!(world.log.count(|what| *what == asked), 2);
}

#[tokio::test(start_paused = true)]
async fn a_handler_is_asked_to_end_at_its_timeout() {
    check(true, secs(60)).await;
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_does_not_end_is_dropped_five_seconds_later() {
    check(false, secs(65)).await;
}

#[job(name = "hurried", timeout = "1h", deadline = "100s", backoff = steady)]
async fn hurried(ms: u64, ctx: JobContext) -> Result<(), String> {
    tokio::select! {
        () = ctx.cancelled() => {}
        () = crate::support::pass(millis(ms)) => {}
    }
    Err("again".to_owned())
}

#[tokio::test(start_paused = true)]
async fn no_attempt_goes_on_or_begins_after_the_deadline() {
    let world = World::new();
    let _running = world
        .start(jobs::registry().with::<hurried>(), &Probe::new())
        .await;
    let check = async |ms: u64, starts: usize, until: u64, errors: u32| {
        let begun = tokio::time::Instant::now();
        let job = hurried::enqueue(&world.jobs, ms)
            .max_attempts(99)
            .await
            .unwrap();
        let ended = job.ended().await.unwrap();
        assert!(matches!(
            ended.phase,
            Phase::Ended(ref end) if end.how == How::Dead(DeadReason::Deadline)
        ));
        assert_eq!(world.log.starts(job.id()).len(), starts);
        assert_eq!(ended.errors, errors);
        let took = begun.elapsed();
        assert!(took < secs(until), "{took:?}");
    };
    // 0–20, 30–50, 60–80: the next could start at 90 and be cut at 100.
    check(20_000, 4, 101, 4).await;
    // Cut at 100.
    check(3_600_000, 1, 101, 1).await;
}

/// What a blocking handler waits for.
#[derive(Debug, Clone, Default)]
struct Door(Arc<(Mutex<bool>, Condvar)>);

impl Door {
    fn wait(&self) {
        let mut open = self.0.0.lock().unwrap();
        while !*open {
            open = self.0.1.wait(open).unwrap();
        }
    }

    fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }
}

#[job(name = "blocks", blocking, timeout = "100ms", max_attempts = 1)]
fn blocks(_: (), door: State<Door>) {
    door.wait();
}

/// In real time: tokio does not let paused time go on while a blocking thread is at work.
#[tokio::test]
async fn a_blocking_job_that_overruns_keeps_its_slot_and_is_counted() {
    let world = World::new();
    let door = Door::default();
    let registry = jobs::registry().with::<blocks>();
    let builder = world
        .dispatcher(registry)
        .state(Probe::new())
        .state(door.clone());
    let running = builder.default_slots(2).start().await.unwrap();
    let job = blocks::enqueue(&world.jobs, ()).await.unwrap();
    world
        .log
        .wait(|what| *what == What::SlotStuck(job.id()))
        .await;
    // Its end is recorded at once, its slot is not free.
    let ended = job.ended().await.unwrap();
    assert_eq!(ended.state(), JobState::Dead);
    let health = running.health();
    assert_eq!((health.stuck, health.running), (1, 1));
    assert!(!health.is_good(), "half of the slots are stuck");
    door.open();
    world
        .log
        .wait(|what| matches!(what, What::AttemptEnded(id, ..) if *id == job.id()))
        .await;
    jobs::echo::enqueue(&world.jobs, 1)
        .await
        .unwrap()
        .result()
        .await
        .unwrap();
    // The slot is free when the thread has come back to it.
    let freed = async {
        while running.health().stuck > 0 || running.health().running > 0 {
            tokio::task::yield_now().await;
        }
    };
    within(secs(60), freed).await;
    assert!(running.health().is_good());
    let ended = world.log.of(job.id());
    let verdict = Verdict::Error(FailureKind::Timeout);
    assert!(
        ended
            .iter()
            .any(|w| matches!(w, What::AttemptEnded(_, v, _) if *v == verdict))
    );
}
