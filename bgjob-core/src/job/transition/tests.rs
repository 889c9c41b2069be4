//! Every row of the table of transitions, and every refusal.

use super::*;
use crate::job::{Failure, FailureKind, Owner};

mod claims;
mod ends;
mod operators;
mod sweeps;

const T0: Timestamp = Timestamp::from_millis(1_000_000_000_000);
const LEASE: Duration = secs(30);

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn token(n: u8) -> Token {
    Token::from_bytes([n; 16])
}

fn owner() -> Owner {
    Owner::from_bytes([9; 16])
}

fn grant(n: u8) -> Grant {
    Grant {
        token: token(n),
        owner: owner(),
        lease: LEASE,
        repeat: false,
    }
}

fn serves() -> Serves {
    Serves {
        jobs: Arc::new([("job".into(), 3)].into()),
        suspect: true,
    }
}

/// A job due at [`T0`] with changes to what was asked for.
fn new(change: impl FnOnce(&mut JobSpec)) -> NewJob {
    let mut spec = JobSpec::new("job", Json::null());
    change(&mut spec);
    NewJob {
        id: crate::JobId::from_key("a"),
        spec: Arc::new(spec),
        due: Due::Now,
        aliases: &[],
    }
}

fn ready(change: impl FnOnce(&mut JobSpec)) -> Job {
    create(&new(change), T0)
}

/// Claimed with token 1 at [`T0`].
fn running(change: impl FnOnce(&mut JobSpec)) -> Job {
    let mut job = ready(change);
    claim(&mut job, &grant(1), &serves(), T0).expect("it is ready");
    job
}

/// Claimed with token 1, then someone asked for its end.
fn cancelling(change: impl FnOnce(&mut JobSpec)) -> Job {
    let mut job = running(change);
    operate(&mut job, &Operation::Cancel, T0);
    job
}

/// Ended like this at [`T0`].
fn ended(how: How) -> Job {
    let mut job = running(|_| {});
    conclude(&mut job, how, T0);
    job
}

/// One job in each terminal state.
fn all_ended() -> [Job; 3] {
    [
        How::Succeeded(Json::null()),
        How::Dead(DeadReason::Errors),
        How::Cancelled,
    ]
    .map(ended)
}

fn error(retry: Retry) -> End {
    End::Error {
        failure: Failure::new(FailureKind::Error, "no"),
        retry,
    }
}

fn retry(wait: Duration) -> End {
    error(Retry::After(wait))
}

fn dead(job: &Job) -> Option<DeadReason> {
    match &job.phase {
        Phase::Ended(Ended {
            how: How::Dead(reason),
            ..
        }) => Some(*reason),
        _ => None,
    }
}

fn purge_at(job: &Job) -> Timestamp {
    match &job.phase {
        Phase::Ended(end) => end.purge_at,
        other => panic!("{other:?} is no end"),
    }
}

fn touch_at(job: &Job) -> Timestamp {
    match &job.phase {
        Phase::Ready { touch_at } => *touch_at,
        other => panic!("{other:?} does not wait"),
    }
}

/// Runs a transition that must refuse and leave the job as it was.
#[track_caller]
fn unchanged<T>(job: &Job, refuse: impl FnOnce(&mut Job) -> T) -> T {
    let mut after = job.clone();
    let answer = refuse(&mut after);
    assert_eq!(after, *job);
    answer
}

/// Jobs that token 2 does not hold, in every state.
fn not_held_by_2() -> Vec<Job> {
    let mut jobs: Vec<Job> = all_ended().into();
    jobs.extend([running(|_| {}), ready(|_| {})]);
    jobs
}
