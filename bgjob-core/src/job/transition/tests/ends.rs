//! T4 (succeed), T5 (fail), T6 (release or snooze).

use super::*;

/// Ends a job five seconds after its claim.
#[track_caller]
fn check(mut job: Job, end: &End, state: State, due_at: Timestamp) -> Job {
    let at = T0 + secs(5);
    assert_eq!(finish(&mut job, token(1), end, at), Some(state));
    assert_eq!((job.state(), job.due_at), (state, due_at));
    job
}

#[test]
fn a_success_is_recorded() {
    let result = Json::trusted("42");
    let end = End::Success(result.clone());
    for job in [running(|_| {}), cancelling(|_| {})] {
        let job = check(job, &end, State::Succeeded, T0);
        let Phase::Ended(ended) = &job.phase else {
            panic!("{job:?} is not over")
        };
        assert_eq!(ended.how, How::Succeeded(result.clone()));
        assert_eq!(
            (ended.at, ended.purge_at),
            (T0 + secs(5), T0 + secs(5) + JobSpec::RETAIN)
        );
        assert_eq!((job.errors, job.history.len()), (0, 0));
        assert!(!vanishes(&job));
    }
}

#[test]
fn errors_are_counted_up_to_the_budget() {
    let mut job = running(|s| s.max_attempts = 3);
    for n in 1..=2 {
        let at = T0 + secs(100 * u64::from(n));
        let state = finish(&mut job, token(1), &retry(secs(7)), at);
        assert_eq!((state, job.errors), (Some(State::Ready), n));
        assert_eq!((job.due_at, touch_at(&job)), (at + secs(7), at + secs(7)));
        claim(&mut job, &grant(1), &serves(), at + secs(7)).expect("it is due again");
    }
    let state = finish(&mut job, token(1), &retry(secs(7)), T0 + secs(900));
    assert_eq!(state, Some(State::Dead));
    assert_eq!((dead(&job), job.errors), (Some(DeadReason::Errors), 3));
    assert_eq!(purge_at(&job), T0 + secs(900) + JobSpec::RETAIN_DEAD);
    let fences: Vec<_> = job.history.iter().map(|attempt| attempt.fence).collect();
    assert_eq!(fences, [1, 2, 3]);
    assert!(matches!(&job.history[2].end, AttemptEnd::Failed(f) if f.message() == "no"));
}

#[test]
fn an_error_that_says_never_is_the_last() {
    for reason in [
        DeadReason::Aborted,
        DeadReason::Decode,
        DeadReason::Deadline,
    ] {
        let job = check(
            running(|_| {}),
            &error(Retry::Never(reason)),
            State::Dead,
            T0,
        );
        assert_eq!((dead(&job), job.errors), (Some(reason), 1));
    }
}

#[test]
fn a_retry_that_could_not_start_in_time_is_not_made() {
    let limited = |limit| running(|s| s.deadline = Some(secs(limit)));
    // It ends at 5 s; a retry at 10 s can start before 11 s, but not before 10 s.
    check(limited(11), &retry(secs(5)), State::Ready, T0 + secs(10));
    for limit in [10, 3] {
        let job = check(limited(limit), &retry(secs(5)), State::Dead, T0);
        assert_eq!(dead(&job), Some(DeadReason::Deadline));
    }
    // The budget is checked first.
    let spent = running(|s| (s.deadline, s.max_attempts) = (Some(secs(3)), 1));
    let job = check(spent, &retry(secs(5)), State::Dead, T0);
    assert_eq!(dead(&job), Some(DeadReason::Errors));
}

#[test]
fn giving_back_costs_nothing() {
    let released = check(running(|_| {}), &End::Release, State::Ready, T0);
    assert_eq!(touch_at(&released), T0 + secs(5) + SweepPolicy::TOUCH);
    let snoozed = check(
        running(|_| {}),
        &End::Snooze(secs(60)),
        State::Ready,
        T0 + secs(65),
    );
    assert_eq!(touch_at(&snoozed), T0 + secs(65));
    for job in [released, snoozed] {
        assert_eq!(
            (job.errors, job.crashes, job.history.len(), job.ver),
            (0, 0, 0, 0)
        );
    }
}

#[test]
fn a_job_that_has_started_no_longer_expires() {
    for end in [retry(secs(9)), End::Release, End::Snooze(secs(9))] {
        let mut job = running(|s| (s.expires, s.deadline) = (Some(secs(1)), Some(secs(99))));
        finish(&mut job, token(1), &end, T0 + secs(5));
        assert_eq!(
            (job.expires_at, job.deadline_at),
            (None, Some(T0 + secs(99))),
            "{end:?}"
        );
        assert!(!expire(&mut job, T0 + secs(98)), "{end:?}");
    }
}

#[test]
fn whoever_asked_for_an_end_gets_it() {
    let never = error(Retry::Never(DeadReason::Aborted));
    for end in [retry(secs(1)), never, End::Release, End::Snooze(secs(1))] {
        let job = check(cancelling(|_| {}), &end, State::Cancelled, T0);
        assert_eq!(purge_at(&job), T0 + secs(5) + JobSpec::RETAIN);
    }
}

#[test]
fn only_the_holder_ends_an_attempt() {
    let success = || End::Success(Json::null());
    for job in not_held_by_2() {
        for end in [
            success(),
            retry(secs(1)),
            End::Release,
            End::Snooze(secs(1)),
        ] {
            let answer = unchanged(&job, |job| finish(job, token(2), &end, T0 + secs(9)));
            assert_eq!(answer, None, "{job:?}");
        }
    }
}

#[test]
fn an_end_is_recorded_late_but_once() {
    let mut job = running(|_| {});
    let at = T0 + secs(3600);
    assert_eq!(
        finish(&mut job, token(1), &retry(secs(0)), at),
        Some(State::Ready)
    );
    assert_eq!(
        unchanged(&job, |job| finish(job, token(1), &retry(secs(0)), at)),
        None
    );
    claim(&mut job, &grant(2), &serves(), at).expect("it is due again");
    assert_eq!(
        unchanged(&job, |job| finish(job, token(1), &End::Release, at)),
        None
    );
}

#[test]
fn what_is_kept_for_no_time_vanishes_unless_it_is_dead() {
    let check = |end: &End, cancel: bool, gone: bool| {
        let spec = |s: &mut JobSpec| (s.retain, s.max_attempts) = (Duration::ZERO, 1);
        let mut job = if cancel {
            cancelling(spec)
        } else {
            running(spec)
        };
        finish(&mut job, token(1), end, T0);
        assert_eq!(vanishes(&job), gone, "{end:?} {cancel}");
    };
    check(&End::Success(Json::null()), false, true);
    check(&retry(secs(1)), true, true);
    check(&retry(secs(1)), false, false);
    check(&End::Release, false, false);
}

#[test]
fn history_keeps_the_latest_attempts() {
    let mut job = running(|s| s.max_attempts = 1000);
    let rounds = limits::HISTORY as u64 + 5;
    for _ in 0..rounds {
        finish(&mut job, token(1), &retry(secs(0)), T0);
        claim(&mut job, &grant(1), &serves(), T0).expect("it is due again");
    }
    let fences: Vec<_> = job.history.iter().map(|attempt| attempt.fence).collect();
    let first = rounds + 1 - limits::HISTORY as u64;
    assert_eq!(fences, (first..=rounds).collect::<Vec<_>>());
}
