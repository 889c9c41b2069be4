//! T1 (create), T2 (claim), T2′ (the same claim again), T3 (renew).

use super::*;

#[test]
fn a_new_job_waits_for_its_time() {
    let check = |due: Due, due_at: Timestamp, touch: Timestamp| {
        let new = NewJob {
            due,
            ..new(|s| (s.expires, s.deadline) = (Some(secs(10)), Some(secs(100))))
        };
        let job = create(&new, T0);
        assert_eq!(
            (job.state(), job.due_at, touch_at(&job)),
            (State::Ready, due_at, touch)
        );
        assert_eq!(job.expires_at, Some(due_at + secs(10)));
        assert_eq!(job.deadline_at, Some(due_at + secs(100)));
        assert_eq!(
            (job.ver, job.fence, job.epoch, job.created_at),
            (0, 0, 0, T0)
        );
    };
    let later = T0 + secs(60);
    let past = Timestamp::from_millis(T0.as_millis() - 60_000);
    check(Due::Now, T0, T0 + SweepPolicy::TOUCH);
    check(Due::After(secs(60)), later, later);
    check(Due::At(later), later, later);
    check(Due::At(past), past, T0 + SweepPolicy::TOUCH);
}

#[test]
fn a_repeated_create_is_known_by_its_function() {
    let existing = ready(|_| {});
    let grown = new(|s| (s.metadata, s.version) = (Json::trusted("1"), 1));
    assert!(is_repeat(&existing, &new(|_| {})) && is_repeat(&existing, &grown));
    let other = |aliases| NewJob {
        aliases,
        ..new(|s| s.name = "other".into())
    };
    assert!(!is_repeat(&existing, &other(&[])));
    assert!(!is_repeat(&existing, &other(&["another"])));
    assert!(is_repeat(&existing, &other(&["another", "job"])));
}

#[test]
fn a_claim_holds_the_job() {
    let mut job = ready(|s| (s.version, s.expires) = (3, Some(secs(10))));
    let answer = claim(&mut job, &grant(1), &serves(), T0).expect("it is ready");
    let Phase::Running(hold) = &job.phase else {
        panic!("{job:?} does not run")
    };
    assert_eq!((hold.token, hold.owner), (token(1), owner()));
    assert_eq!(
        (hold.since, hold.lease_until, hold.cancel),
        (T0, T0 + LEASE, false)
    );
    assert_eq!((answer.token, answer.fence, job.fence), (token(1), 1, 1));
    assert_eq!(
        (answer.claimed_at, answer.errors, answer.crashes),
        (T0, 0, 0)
    );
}

#[test]
fn each_grant_has_a_greater_fence() {
    let mut job = ready(|_| {});
    for n in 1..=9 {
        let claimed = claim(&mut job, &grant(n), &serves(), T0).expect("it is ready again");
        assert_eq!(claimed.fence, u64::from(n));
        finish(&mut job, token(n), &End::Release, T0).expect("it is held");
    }
    conclude(&mut job, How::Cancelled, T0);
    operate(&mut job, &Operation::Requeue(Due::Now), T0);
    let claimed = claim(&mut job, &grant(10), &serves(), T0).expect("it is ready again");
    assert_eq!((claimed.fence, claimed.epoch), (10, 1));
}

#[test]
fn the_same_claim_is_answered_again() {
    let mut job = running(|_| {});
    renew(&mut job, token(1), None, LEASE, T0 + secs(20));
    let late = T0 + secs(500);
    let answer = unchanged(&job, |job| claim(job, &grant(1), &Serves::default(), late));
    let answer = answer.expect("it is held by this token");
    assert_eq!(
        (answer.token, answer.fence, answer.claimed_at),
        (token(1), 1, T0)
    );
}

#[test]
fn claims_are_refused_with_a_reason() {
    let check = |job: &Job, serves: &Serves, at: Timestamp, refusal: Refusal| {
        let answer = unchanged(job, |job| claim(job, &grant(2), serves, at).map(|_| ()));
        assert_eq!(answer, Err(refusal), "{job:?} at {at}");
    };
    let all = serves();
    let before = Timestamp::from_millis(T0.as_millis() - 1);
    let job = ready(|_| {});
    check(&job, &all, before, Refusal::NotDue);
    check(&job, &Serves::default(), T0, Refusal::NotServed);
    check(&ready(|s| s.version = 4), &all, T0, Refusal::NotServed);
    check(
        &ready(|s| s.name = "other".into()),
        &all,
        T0,
        Refusal::NotServed,
    );
    // Both limits include the moment they name.
    check(
        &ready(|s| s.expires = Some(secs(1))),
        &all,
        T0 + secs(1),
        Refusal::NotDue,
    );
    check(
        &ready(|s| s.deadline = Some(secs(1))),
        &all,
        T0 + secs(1),
        Refusal::NotDue,
    );
    check(&running(|_| {}), &all, T0 + secs(999), Refusal::Busy);
    for job in all_ended() {
        check(&job, &all, T0, Refusal::Terminal);
    }
    let mut suspect = Job { crashes: 2, ..job };
    let unsuspecting = Serves {
        suspect: false,
        ..serves()
    };
    check(&suspect, &unsuspecting, T0, Refusal::NotServed);
    claim(&mut suspect, &grant(2), &all, T0).expect("a suspect is wanted here");
}

#[test]
fn a_suspect_has_one_chance_left() {
    let suspect = |crashes, max_crashes| {
        let job = ready(|spec| spec.max_crashes = max_crashes);
        Job { crashes, ..job }.is_suspect()
    };
    assert!(!suspect(0, 1) && !suspect(0, 2) && !suspect(0, 3));
    assert!(suspect(1, 2) && !suspect(1, 3) && !suspect(1, u32::MAX));
    assert!(suspect(2, 3) && !suspect(2, 4) && suspect(u32::MAX, u32::MAX));
    assert!(suspect(1, 1));
}

#[test]
fn a_renewal_moves_the_lease_and_never_back() {
    let mut job = running(|_| {});
    let mut check = |lease: Duration, at: Timestamp, until: Timestamp| {
        assert_eq!(renew(&mut job, token(1), None, lease, at), Some(false));
        let Phase::Running(hold) = &job.phase else {
            panic!("{job:?} does not run")
        };
        assert_eq!(hold.lease_until, until);
    };
    check(LEASE, T0 + secs(10), T0 + secs(40));
    check(secs(1), T0 + secs(10), T0 + secs(40));
    check(LEASE, T0, T0 + secs(40));
    // Nobody revoked it, so it is still held.
    check(LEASE, T0 + secs(500), T0 + secs(530));
}

#[test]
fn a_renewal_carries_progress_in_and_the_wish_to_cancel_out() {
    let mut job = running(|_| {});
    let half = Progress::of(1, 2);
    assert_eq!(
        renew(&mut job, token(1), Some(&half), LEASE, T0),
        Some(false)
    );
    assert_eq!(renew(&mut job, token(1), None, LEASE, T0), Some(false));
    assert_eq!(job.progress, Some(half), "no news takes none away");
    operate(&mut job, &Operation::Cancel, T0);
    assert_eq!(renew(&mut job, token(1), None, LEASE, T0), Some(true));
    assert_eq!(renew(&mut job, token(1), None, LEASE, T0), Some(true));
}

#[test]
fn only_the_holder_renews() {
    for job in not_held_by_2() {
        let news = Progress::of(1, 2);
        let late = T0 + secs(9);
        let answer = unchanged(&job, |job| renew(job, token(2), Some(&news), LEASE, late));
        assert_eq!(answer, None, "{job:?}");
    }
}
