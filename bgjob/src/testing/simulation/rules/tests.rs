//! Each rule is broken once, and seen.

use std::{sync::Arc, time::Duration};

use super::*;
use crate::{
    JobId, JobSpec, Json, Owner,
    job::{Due, Grant, NewJob, Retry, Serves, transition::SweepPolicy},
    job::{Failure, FailureKind},
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
    let new = NewJob {
        id: JobId::from_key("a"),
        spec: Arc::new(spec),
        due: Due::Now,
    };
    transition::create(&new, T0)
}

/// Its grant to this token, whether it is due or not.
fn claimed(mut job: Job, n: u8, now: Timestamp) -> Job {
    let grant = Grant {
        token: token(n),
        owner: Owner::from_bytes([n; 16]),
        lease: LEASE,
        repeat: false,
    };
    let serves = Serves {
        jobs: Arc::new([("job".into(), 0)].into()),
        suspect: true,
    };
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
    let ending = Ending {
        id: JobId::from_key("a"),
        token: token(n),
        end,
    };
    Cause::Finish(ending, answer)
}

/// What is said about these changes, one after the other, at the same time.
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
    // A store that forgets the end of a job that is not kept, and runs it again.
    let job = ready(|_| {});
    let first = claimed(job.clone(), 1, T0);
    let mut again = first.clone();
    again.phase = job.phase.clone();
    let second = claimed(again.clone(), 2, T0);
    let over = finished(second.clone(), 2, &success());
    check(
        "S3",
        vec![
            (Some(job), Cause::Create),
            (Some(first), Cause::Claim(token(1))),
            // The success is said to be applied, and the job waits.
            (
                Some(again),
                by(1, success(), Finished::Applied(State::Succeeded)),
            ),
            (Some(second), Cause::Claim(token(2))),
            (
                Some(over),
                by(2, success(), Finished::Applied(State::Succeeded)),
            ),
        ],
    );
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
    let mut job = ready(|spec| (spec.max_attempts, spec.max_crashes) = (1, 1));
    let mut life = vec![(Some(job.clone()), Cause::Create)];
    for n in 1..=2 {
        let held = claimed(job.clone(), n, T0);
        life.push((Some(held.clone()), Cause::Claim(token(n))));
        // A store that counts no errors.
        job = finished(held, n, &End::Release);
        life.push((
            Some(job.clone()),
            by(n, error(), Finished::Applied(State::Ready)),
        ));
    }
    check("S6", life);
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
        (Some(&runs), None, "sweep"),
        (Some(&done), None, "operate"),
    ] {
        assert_eq!(Cause::told_by(before, after).to_string(), cause);
    }
    let end = |after: &Job| match Cause::told_by(Some(&runs), Some(after)) {
        Cause::Finish(ending, _) => ending.end,
        other => panic!("{other}"),
    };
    assert!(matches!(end(&done), End::Success(_)));
    let released = finished(runs.clone(), 1, &End::Release);
    assert!(matches!(end(&released), End::Release));
    let failed = finished(runs.clone(), 1, &error());
    assert!(matches!(end(&failed), End::Error { .. }));
}
