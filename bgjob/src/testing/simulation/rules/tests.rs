//! Breaks each rule once, and checks that this is noticed.

use std::{sync::Arc, time::Duration};

use super::*;
use crate::{
    JobId, JobSpec, Json, Owner,
    job::{DeadReason, Ended, Failure, FailureKind, How},
    job::{Due, Grant, NewJob, Retry, Serves, transition::SweepPolicy},
    store::{Ending, Finished},
};

const T0: Timestamp = Timestamp::from_millis(1_000_000_000_000);
const LEASE: Duration = Duration::from_secs(30);

fn token(n: u8) -> Token {
    Token::from_bytes([n; 16])
}

/// A job as it was when it was stored.
fn ready(change: impl FnOnce(&mut JobSpec)) -> Job {
    let mut spec = JobSpec::new("job", Json::null());
    change(&mut spec);
    let new = NewJob::new(JobId::from_key("a"), spec, Due::Now);
    transition::create(&new, T0)
}

/// Grants the job to this token, whether it is due or not.
fn claimed(mut job: Job, n: u8, now: Timestamp) -> Job {
    let grant = Grant::new(token(n), Owner::from_bytes([n; 16]), LEASE);
    let serves = Serves::new(Arc::new([("job".into(), 0)].into())).suspect(true);
    let due_at = std::mem::replace(&mut job.due_at, now);
    transition::claim(&mut job, &grant, &serves, now).expect("it is ready");
    job.due_at = due_at;
    job
}

fn finished(mut job: Job, n: u8, end: &End) -> Job {
    transition::finish(&mut job, token(n), end, T0).expect("it holds the job");
    job
}

fn success() -> End {
    End::Success(Json::null())
}

fn error() -> End {
    End::Error {
        failure: Failure::new(FailureKind::Error, "no"),
        retry: Retry::After(Duration::ZERO),
    }
}

fn by(n: u8, end: End, answer: Finished) -> Cause {
    let ending = Ending::new(JobId::from_key("a"), token(n), end);
    Cause::Finish(ending, answer)
}

/// The verdict on these changes, made one after the other at the same time.
fn say(changes: Vec<(Option<Job>, Cause)>) -> Result<(), String> {
    let mut known = None;
    for (job, cause) in changes {
        known = change(known, job, &cause, T0)?;
    }
    Ok(())
}

fn check(rule: &str, changes: Vec<(Option<Job>, Cause)>) {
    let said = say(changes).expect_err(rule);
    assert!(said.starts_with(rule), "{rule} expected: {said}");
}

#[test]
fn a_usual_life_breaks_none() {
    let job = ready(|_| {});
    let first = claimed(job.clone(), 1, T0);
    let failed = finished(first.clone(), 1, &error());
    let second = claimed(failed.clone(), 2, T0);
    let over = finished(second.clone(), 2, &success());
    let applied = |state| Finished::Applied(state);
    let life = vec![
        (Some(job), Cause::Create),
        (Some(first.clone()), Cause::Claim(token(1))),
        (Some(first), Cause::Renew),
        (Some(failed), by(1, error(), applied(State::Ready))),
        (Some(second), Cause::Claim(token(2))),
        (
            Some(over.clone()),
            by(2, success(), applied(State::Succeeded)),
        ),
        (Some(over), by(2, success(), Finished::Lost)),
    ];
    assert_eq!(say(life), Ok(()));
}

#[test]
fn s1_what_is_live_or_kept_does_not_go() {
    let job = ready(|_| {});
    let over = finished(claimed(job.clone(), 1, T0), 1, &success());
    let applied = Finished::Applied(State::Succeeded);
    check(
        "S1",
        vec![(Some(job.clone()), Cause::Create), (None, Cause::Purge)],
    );
    check(
        "S1",
        vec![
            (Some(job.clone()), Cause::Create),
            (Some(claimed(job, 1, T0)), Cause::Claim(token(1))),
            (Some(over), by(1, success(), applied)),
            (None, Cause::Purge),
        ],
    );
}

#[test]
fn s2_what_is_over_stays_over() {
    let job = ready(|_| {});
    let first = claimed(job.clone(), 1, T0);
    let over = finished(first.clone(), 1, &success());
    let until = |last: Job| {
        vec![
            (Some(job.clone()), Cause::Create),
            (Some(first.clone()), Cause::Claim(token(1))),
            (
                Some(over.clone()),
                by(1, success(), Finished::Applied(State::Succeeded)),
            ),
            (Some(last), Cause::Sweep),
        ]
    };
    check("S2", until(first.clone()));
    check("S2", until(job.clone()));
}

#[test]
fn s3_one_success_an_epoch() {
    // A store that answers that a success is recorded, and leaves the job for another attempt.
    let job = ready(|_| {});
    let first = claimed(job.clone(), 1, T0);
    let mut again = first.clone();
    again.phase = job.phase.clone();
    let lie = by(1, success(), Finished::Applied(State::Succeeded));
    let life = vec![
        (Some(job), Cause::Create),
        (Some(first), Cause::Claim(token(1))),
        (Some(again), lie),
    ];
    check("S3", life);
}

#[test]
fn s5_only_the_holder_ends_a_grant() {
    let job = ready(|_| {});
    let first = claimed(job.clone(), 1, T0);
    let over = finished(first.clone(), 1, &success());
    let until = |job: &Job, last: Job, cause: Cause| {
        vec![
            (Some(job.clone()), Cause::Create),
            (Some(first.clone()), Cause::Claim(token(1))),
            (Some(last), cause),
        ]
    };
    let stranger = by(2, success(), Finished::Applied(State::Succeeded));
    check("S5", until(&job, over.clone(), stranger));
    check("S5", until(&job, over, by(1, success(), Finished::Lost)));
    check(
        "S5",
        until(&job, claimed(job.clone(), 2, T0), Cause::Claim(token(2))),
    );
}

#[test]
fn s6_starts_are_bounded() {
    let job = ready(|spec| (spec.max_attempts, spec.max_crashes) = (1, 1));
    let first = claimed(job.clone(), 1, T0);
    let until = |last: Vec<(Option<Job>, Cause)>| {
        let mut life = vec![
            (Some(job.clone()), Cause::Create),
            (Some(first.clone()), Cause::Claim(token(1))),
        ];
        life.extend(last);
        life
    };
    // A store that counts no errors.
    let failed = by(1, error(), Finished::Applied(State::Ready));
    let uncounted = finished(first.clone(), 1, &End::Release);
    check("S6", until(vec![(Some(uncounted.clone()), failed)]));
    // A store that counts errors, and has no limit.
    let failed = by(1, error(), Finished::Applied(State::Ready));
    let mut counted = uncounted.clone();
    counted.errors = 1;
    check("S6", until(vec![(Some(counted), failed)]));
    // A store that has no limit for crashes.
    let mut crashed = uncounted;
    crashed.crashes = 1;
    let again = claimed(crashed.clone(), 2, T0);
    let late = T0 + 2 * LEASE;
    let mut known = None;
    for (job, cause, now) in [
        (job.clone(), Cause::Create, T0),
        (first.clone(), Cause::Claim(token(1)), T0),
        (crashed, Cause::Sweep, late),
    ] {
        known = change(known, Some(job), &cause, now).expect("the rules bear that");
    }
    let said = change(known, Some(again), &Cause::Claim(token(2)), late);
    assert!(said.is_err_and(|said| said.starts_with("S6")));
}

#[test]
fn s7_never_early() {
    let mut job = ready(|_| {});
    job.due_at = T0 + Duration::from_millis(1);
    let early = claimed(job.clone(), 1, T0);
    let life = vec![
        (Some(job), Cause::Create),
        (Some(early), Cause::Claim(token(1))),
    ];
    check("S7", life);
}

#[test]
fn a_lease_that_holds_is_not_revoked() {
    let job = ready(|_| {});
    let held = claimed(job.clone(), 1, T0);
    let mut revoked = held.clone();
    let late = T0 + LEASE + Duration::from_secs(5);
    assert!(transition::revoke(
        &mut revoked,
        &SweepPolicy::default(),
        late
    ));
    let life = vec![
        (Some(job), Cause::Create),
        (Some(held), Cause::Claim(token(1))),
        (Some(revoked), Cause::Sweep),
    ];
    check("it was revoked", life);
}

#[test]
fn who_waits_ends_only_too_late_or_by_request() {
    let job = ready(|spec| spec.expires = Some(LEASE));
    let ended = |how: How| {
        let mut job = job.clone();
        job.phase = Phase::Ended(Ended {
            how,
            at: T0,
            purge_at: T0 + LEASE,
        });
        Some(job)
    };
    let dead = || ended(How::Dead(DeadReason::Expired));
    let say = |last: Option<Job>, cause: Cause, now: Timestamp| {
        let known = change(None, Some(job.clone()), &Cause::Create, T0)?;
        change(known, last, &cause, now).map(drop)
    };
    let cancel = || Cause::Operate(Operation::Cancel);
    let late = T0 + LEASE;
    assert_eq!(say(dead(), Cause::Sweep, late), Ok(()));
    assert_eq!(say(ended(How::Cancelled), cancel(), T0), Ok(()));
    for (job, cause, now) in [
        (dead(), Cause::Sweep, T0),
        (dead(), cancel(), late),
        (ended(How::Cancelled), Cause::Sweep, late),
    ] {
        assert!(say(job, cause, now).is_err_and(|said| said.starts_with("S2")));
    }
}

#[test]
fn what_is_over_comes_back_only_by_request() {
    let over = finished(claimed(ready(|_| {}), 1, T0), 1, &success());
    let known = |job: Job| Some(Known::new(job));
    let mut again = over.clone();
    let requeue = Operation::Requeue(Due::Now);
    assert!(matches!(
        transition::operate(&mut again, &requeue, T0),
        transition::Operated::Done(_)
    ));
    let by_request = Cause::Operate(requeue);
    assert!(change(known(over.clone()), Some(again.clone()), &by_request, T0).is_ok());
    let mut changed = over.clone();
    changed.phase = Phase::Ended(Ended {
        how: How::Cancelled,
        at: T0,
        purge_at: T0,
    });
    for (job, cause) in [(again, Cause::Sweep), (changed, Cause::Renew)] {
        let said = change(known(over.clone()), Some(job), &cause, T0);
        assert!(said.is_err_and(|said| said.starts_with("S2")));
    }
}

#[test]
fn a_cause_is_told_by_what_it_did() {
    let (waits, runs) = (ready(|_| {}), claimed(ready(|_| {}), 1, T0));
    let mut crashed = runs.clone();
    let late = T0 + 2 * LEASE;
    assert!(transition::revoke(
        &mut crashed,
        &SweepPolicy::default(),
        late
    ));
    let done = finished(runs.clone(), 1, &success());
    for (before, after, cause) in [
        (None, Some(&waits), "create"),
        (Some(&waits), Some(&runs), "claim"),
        (Some(&runs), Some(&runs), "renew"),
        (Some(&runs), Some(&crashed), "sweep"),
        (Some(&runs), Some(&done), "finish"),
        (Some(&runs), None, "finish"),
        (Some(&waits), None, "operate"),
        (Some(&done), None, "operate"),
    ] {
        assert_eq!(Cause::told_by(before, after, late).to_string(), cause);
    }
    let end = |after: &Job| match Cause::told_by(Some(&runs), Some(after), late) {
        Cause::Finish(ending, _) => ending.end,
        other => panic!("{other}"),
    };
    assert!(matches!(end(&done), End::Success(_)));
    let released = finished(runs.clone(), 1, &End::Release);
    assert!(matches!(end(&released), End::Release));
    let failed = finished(runs.clone(), 1, &error());
    assert!(matches!(end(&failed), End::Error { .. }));
}
