//! Errors: what is tried again, when, and for how long.

use std::{fmt, time::Duration};

use bgjob::{
    JobContext, JobError, JobState, State, job,
    job::{AttemptEnd, DeadReason, FailureKind, How, Phase},
};

use crate::support::{Probe, World, jobs, millis, secs};

#[job(name = "fails", backoff = fixed, max_attempts = 4)]
async fn fails(times: u32, ctx: JobContext) -> Result<u32, Layered> {
    if ctx.attempt() <= times {
        Err(Layered(3))
    } else {
        Ok(ctx.attempt())
    }
}

fn fixed(errors: u32) -> Duration {
    secs(10) * errors
}

/// An error with a cause with a cause.
#[derive(Debug)]
struct Layered(u8);

impl fmt::Display for Layered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "layer {}", self.0)
    }
}

impl std::error::Error for Layered {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        static CAUSES: [Layered; 2] = [Layered(1), Layered(2)];
        CAUSES
            .get(usize::from(self.0).wrapping_sub(2))
            .map(|e| e as _)
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_job_is_tried_again_when_its_backoff_is_over() {
    let world = World::new();
    let _running = world
        .start(jobs::registry().with::<fails>(), &Probe::new())
        .await;
    let job = fails::enqueue(&world.jobs, 3).await.unwrap();
    assert_eq!(job.result().await.unwrap(), 4);
    let starts = world.log.starts(job.id());
    let gaps: Vec<_> = starts.windows(2).map(|pair| pair[1] - pair[0]).collect();
    for (gap, n) in gaps.iter().zip(1..) {
        let due = secs(10) * n;
        assert!((due..due + millis(100)).contains(gap), "{gaps:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_error_makes_it_dead_and_all_chains_are_kept() {
    let world = World::new();
    let _running = world
        .start(jobs::registry().with::<fails>(), &Probe::new())
        .await;
    let job = fails::enqueue(&world.jobs, 99)
        .max_attempts(2)
        .await
        .unwrap();
    let ended = job.ended().await.unwrap();
    assert!(matches!(
        ended.phase,
        Phase::Ended(ref end) if end.how == How::Dead(DeadReason::Errors)
    ));
    assert_eq!((ended.errors, ended.crashes), (2, 0));
    assert_eq!(ended.history.len(), 2);
    for attempt in &ended.history {
        let AttemptEnd::Failed(failure) = &attempt.end else {
            panic!("{attempt:?}");
        };
        assert_eq!(failure.kind, FailureKind::Error);
        assert_eq!(failure.messages, ["layer 3", "layer 2", "layer 1"]);
    }
}

#[job(name = "jittered", backoff = "constant(100s)", max_attempts = 2)]
async fn jittered(_: ()) -> Result<(), String> {
    Err("no".to_owned())
}

#[tokio::test(start_paused = true)]
async fn jitter_takes_away_half_at_most_and_spreads() {
    let world = World::new();
    let _running = world
        .start(jobs::registry().with::<jittered>(), &Probe::new())
        .await;
    let jobs = jittered::enqueue_all(&world.jobs, vec![(); 50])
        .await
        .unwrap();
    world.all_over().await;
    let mut gaps = Vec::new();
    for job in &jobs {
        let starts = world.log.starts(job.id());
        gaps.push(starts[1] - starts[0]);
    }
    gaps.sort();
    assert!(gaps[0] >= secs(50), "{gaps:?}");
    assert!(gaps[49] <= secs(100) + millis(100), "{gaps:?}");
    assert!(gaps[49] - gaps[0] > secs(10), "{gaps:?}");
}

#[job(name = "verdicts", max_attempts = 3)]
async fn verdicts(what: String, ctx: JobContext, probe: State<Probe>) -> Result<(), JobError> {
    probe.say(format!("{what} {}", ctx.attempt()));
    let first = ctx.fence() == 1;
    match what.as_str() {
        "retry_in" if first => Err(JobError::retry_in(secs(77), "later")),
        "snooze" if first => Err(JobError::snooze(secs(33))),
        "abort" => Err(JobError::abort("never")),
        _ => Ok(()),
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_error_says_what_is_to_be_done() {
    let world = World::new();
    let probe = Probe::new();
    let _running = world
        .start(jobs::registry().with::<verdicts>(), &probe)
        .await;
    let check = async |what: &str, state: JobState, errors: u32, after: Option<Duration>| {
        let job = verdicts::enqueue(&world.jobs, what.to_owned())
            .await
            .unwrap();
        let ended = job.ended().await.unwrap();
        assert_eq!(ended.state(), state, "{what}");
        assert_eq!(ended.errors, errors, "{what}");
        let starts = world.log.starts(job.id());
        let gap = starts.get(1).map(|second| *second - starts[0]);
        match (gap, after) {
            (Some(gap), Some(after)) => assert!((after..after + millis(100)).contains(&gap)),
            (gap, after) => assert_eq!(gap, after, "{what}"),
        }
    };
    check("retry_in", JobState::Succeeded, 1, Some(secs(77))).await;
    check("snooze", JobState::Succeeded, 0, Some(secs(33))).await;
    check("abort", JobState::Dead, 1, None).await;
    // A snooze spends no attempt.
    assert!(probe.has_said("retry_in 2") && !probe.has_said("snooze 2"));
}

#[job(name = "bad_backoff", backoff = panics, max_attempts = 3)]
async fn bad_backoff(_: ()) -> Result<(), String> {
    Err("no".to_owned())
}

fn panics(errors: u32) -> Duration {
    assert_eq!(errors, u32::MAX, "a backoff of the user's own can be wrong");
    Duration::ZERO
}

#[tokio::test(start_paused = true)]
async fn a_backoff_that_panics_costs_no_slot() {
    let world = World::new();
    let registry = jobs::registry().with::<bad_backoff>();
    let builder = world
        .dispatcher(registry)
        .state(Probe::new())
        .default_slots(1);
    let running = builder.start().await.unwrap();
    let job = bad_backoff::enqueue(&world.jobs, ()).await.unwrap();
    let ended = job.ended().await.unwrap();
    assert_eq!((ended.state(), ended.errors), (JobState::Dead, 3));
    let next = jobs::echo::enqueue(&world.jobs, 1).await.unwrap();
    assert_eq!(next.result_within(secs(1)).await.unwrap(), 1);
    assert_eq!(running.health().running, 0);
}

#[tokio::test(start_paused = true)]
async fn metadata_that_cannot_be_read_is_dead_at_once_and_kept() {
    let world = World::new();
    let _running = world.start(jobs::registry(), &Probe::new()).await;
    let job = world.jobs.enqueue_raw("echo", "no number").await.unwrap();
    let ended = job.ended().await.unwrap();
    assert!(matches!(
        ended.phase,
        Phase::Ended(ref end) if end.how == How::Dead(DeadReason::Decode)
    ));
    assert_eq!(ended.spec.metadata.as_str(), "\"no number\"");
    assert_eq!(world.log.starts(job.id()).len(), 1);
}
