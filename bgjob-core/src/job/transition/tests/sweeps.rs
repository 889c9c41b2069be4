//! T7 (revoke), T8 (touch), T11 (expire), T12 (purge).

use super::*;

/// Just past the lease and the margin.
const LAPSED: Timestamp = Timestamp::from_millis(T0.as_millis() + 31_001);

fn policy() -> SweepPolicy {
    SweepPolicy::default()
}

fn queued(touch: Duration) -> SweepPolicy {
    SweepPolicy {
        touch: Some(touch),
        ..policy()
    }
}

#[test]
fn a_lapsed_lease_is_revoked_after_the_margin() {
    let mut job = running(|s| s.expires = Some(secs(1)));
    renew(&mut job, token(1), Some(&Progress::of(1, 2)), LEASE, T0);
    for early in [T0, T0 + LEASE, T0 + secs(31)] {
        assert!(
            !unchanged(&job, |job| revoke(job, &policy(), early)),
            "{early}"
        );
    }
    assert!(revoke(&mut job, &policy(), LAPSED));
    assert_eq!((job.state(), job.crashes, job.errors), (State::Ready, 1, 0));
    assert_eq!((job.due_at, job.expires_at), (LAPSED + secs(5), None));
    assert_eq!(touch_at(&job), job.due_at);
    let crashed = AttemptEnd::Crashed {
        progress: Some(Progress::of(1, 2)),
    };
    assert_eq!((job.history.len(), &job.history[0].end), (1, &crashed));
    // The holder has lost the job.
    assert_eq!(
        unchanged(&job, |job| renew(job, token(1), None, LEASE, LAPSED)),
        None
    );
    assert_eq!(
        unchanged(&job, |job| finish(job, token(1), &End::Release, LAPSED)),
        None
    );
    assert!(!unchanged(&job, |job| revoke(job, &policy(), LAPSED)));
}

#[test]
fn crashes_are_counted_up_to_the_budget_and_wait_ever_longer() {
    let mut job = running(|s| s.max_crashes = 5);
    let mut at = T0;
    let mut waits = Vec::new();
    loop {
        at = at + LEASE + secs(2);
        assert!(revoke(&mut job, &policy(), at));
        if job.state() != State::Ready {
            break;
        }
        waits.push(job.due_at.since(at).as_secs());
        at = job.due_at;
        claim(&mut job, &grant(1), &serves(), at).expect("it is due again");
    }
    assert_eq!(waits, [5, 60, 600, 600]);
    assert_eq!((dead(&job), job.crashes), (Some(DeadReason::Crashes), 5));
    assert_eq!(purge_at(&job), at + JobSpec::RETAIN_DEAD);
}

#[test]
fn a_policy_without_waits_is_one_that_does_not_wait() {
    let hasty = SweepPolicy {
        crash_backoff: Vec::new(),
        ..policy()
    };
    let mut job = running(|_| {});
    assert!(revoke(&mut job, &hasty, LAPSED));
    assert_eq!(job.due_at, LAPSED);
}

#[test]
fn a_cancelled_job_whose_process_dies_is_cancelled() {
    let mut job = cancelling(|s| s.retain = Duration::ZERO);
    assert!(revoke(&mut job, &policy(), LAPSED));
    assert_eq!((job.state(), vanishes(&job)), (State::Cancelled, true));
}

#[test]
fn only_what_runs_is_revoked() {
    let mut others: Vec<Job> = all_ended().into();
    others.push(ready(|_| {}));
    for job in others {
        assert!(
            !unchanged(&job, |job| revoke(job, &policy(), Timestamp::MAX)),
            "{job:?}"
        );
    }
}

#[test]
fn a_waiting_job_is_hinted_at_ever_more_seldom() {
    let queued = queued(secs(15));
    let mut job = ready(|_| {});
    assert!(!unchanged(&job, |job| touch(job, &queued, T0 + secs(14))));
    let mut waits = Vec::new();
    for _ in 0..8 {
        let at = touch_at(&job);
        assert!(touch(&mut job, &queued, at));
        assert!(!unchanged(&job, |job| touch(job, &queued, at)), "not twice");
        waits.push(touch_at(&job).since(at).as_secs());
    }
    assert_eq!(waits, [15, 30, 60, 120, 240, 480, 600, 600]);
    assert!(
        !unchanged(&job, |job| touch(job, &policy(), Timestamp::MAX)),
        "there is no queue"
    );
}

#[test]
fn only_what_is_due_is_hinted_at() {
    let queued = queued(secs(1));
    let mut others: Vec<Job> = all_ended().into();
    others.push(running(|_| {}));
    for job in others {
        assert!(
            !unchanged(&job, |job| touch(job, &queued, Timestamp::MAX)),
            "{job:?}"
        );
    }
    let delayed = NewJob {
        due: Due::After(secs(60)),
        ..new(|_| {})
    };
    let mut job = create(&delayed, T0);
    assert!(!unchanged(&job, |job| touch(job, &queued, T0 + secs(59))));
    // Its enqueuer pushed no hint: the sweeper does, once it is due.
    assert!(touch(&mut job, &queued, T0 + secs(60)));
}

#[test]
fn what_waited_too_long_expires() {
    let check =
        |expires: Option<u64>, deadline: Option<u64>, at: u64, reason: Option<DeadReason>| {
            let limits = (expires.map(secs), deadline.map(secs));
            let job = ready(|s| (s.expires, s.deadline) = limits);
            let mut after = job.clone();
            assert_eq!(expire(&mut after, T0 + secs(at)), reason.is_some());
            assert_eq!(dead(&after), reason);
            match reason {
                None => assert_eq!(after, job),
                Some(_) => assert_eq!(purge_at(&after), T0 + secs(at) + JobSpec::RETAIN_DEAD),
            }
        };
    check(None, None, 1_000_000, None);
    check(Some(10), None, 9, None);
    check(Some(10), None, 10, Some(DeadReason::Expired));
    check(None, Some(10), 9, None);
    check(None, Some(10), 10, Some(DeadReason::Deadline));
    check(Some(10), Some(10), 10, Some(DeadReason::Deadline));
    check(Some(10), Some(20), 15, Some(DeadReason::Expired));
}

#[test]
fn only_what_waits_expires() {
    let limits = |s: &mut JobSpec| (s.expires, s.deadline) = (Some(secs(1)), Some(secs(1)));
    let mut over = running(limits);
    conclude(&mut over, How::Cancelled, T0);
    for job in [running(limits), over] {
        assert!(
            !unchanged(&job, |job| expire(job, Timestamp::MAX)),
            "{job:?}"
        );
    }
}

#[test]
fn what_is_over_is_purged_when_its_time_has_come() {
    for job in all_ended() {
        assert!(!is_purgeable(&job, T0));
        assert!(is_purgeable(&job, purge_at(&job)));
    }
    assert!(!is_purgeable(&ready(|_| {}), Timestamp::MAX));
    assert!(!is_purgeable(&running(|_| {}), Timestamp::MAX));
}
