//! T9 (cancel), T10 (requeue, reschedule, edit), T12 (delete).

use super::*;

const LATER: Timestamp = Timestamp::from_millis(T0.as_millis() + 60_000);

fn edit(ver: u64) -> Operation {
    Operation::Edit {
        metadata: Json::trusted("[1]"),
        version: 2,
        ver,
    }
}

fn limits(spec: &mut JobSpec) {
    (spec.expires, spec.deadline) = (Some(secs(1)), Some(secs(2)));
}

#[track_caller]
fn done(job: &mut Job, operation: &Operation, state: State) {
    let ver = job.ver;
    assert_eq!(operate(job, operation, T0), Operated::Done(state));
    assert_eq!((job.state(), job.ver), (state, ver + 1));
}

#[test]
fn a_waiting_job_is_cancelled_at_once() {
    let mut job = ready(|_| {});
    done(&mut job, &Operation::Cancel, State::Cancelled);
    assert_eq!(purge_at(&job), T0 + JobSpec::RETAIN);
    done(&mut job, &Operation::Cancel, State::Cancelled);
    let mut job = ready(|s| s.retain = Duration::ZERO);
    done(&mut job, &Operation::Cancel, State::Cancelled);
    assert!(vanishes(&job));
}

#[test]
fn a_running_job_is_asked_to_end() {
    let mut job = running(|_| {});
    done(&mut job, &Operation::Cancel, State::Running);
    done(&mut job, &Operation::Cancel, State::Running);
    assert_eq!(renew(&mut job, token(1), None, LEASE, T0), Some(true));
}

#[test]
fn a_requeue_begins_a_new_epoch() {
    for job in all_ended() {
        let mut job = Job {
            spec: ready(limits).spec,
            errors: 4,
            crashes: 2,
            progress: Some(Progress::of(1, 2)),
            ..job
        };
        done(
            &mut job,
            &Operation::Requeue(Due::After(secs(60))),
            State::Ready,
        );
        assert_eq!((job.epoch, job.errors, job.crashes), (1, 0, 0));
        assert_eq!((job.progress.clone(), job.is_suspect()), (None, false));
        assert_eq!((job.due_at, touch_at(&job)), (LATER, LATER));
        assert_eq!(job.expires_at, Some(LATER + secs(1)));
        assert_eq!(job.deadline_at, Some(LATER + secs(2)));
    }
}

#[test]
fn a_waiting_job_is_rescheduled() {
    let mut job = ready(limits);
    done(
        &mut job,
        &Operation::Reschedule(Due::At(LATER)),
        State::Ready,
    );
    assert_eq!((job.due_at, touch_at(&job)), (LATER, LATER));
    assert_eq!(job.expires_at, Some(LATER + secs(1)));
    assert_eq!(job.deadline_at, Some(LATER + secs(2)));
    done(&mut job, &Operation::Reschedule(Due::Now), State::Ready);
    assert_eq!((job.due_at, touch_at(&job)), (T0, T0 + SweepPolicy::TOUCH));
}

#[test]
fn a_deadline_over_all_attempts_is_not_moved_by_rescheduling_one() {
    let mut job = running(|s| s.deadline = Some(secs(600)));
    finish(&mut job, token(1), &retry(secs(1)), T0);
    done(
        &mut job,
        &Operation::Reschedule(Due::At(LATER)),
        State::Ready,
    );
    assert_eq!((job.due_at, job.deadline_at), (LATER, Some(T0 + secs(600))));
}

#[test]
fn metadata_is_edited_by_whoever_read_the_latest() {
    let mut job = ready(|s| s.tags = vec!["kept".into()]);
    let before = job.clone();
    done(&mut job, &edit(0), State::Ready);
    assert_eq!((job.spec.metadata.as_str(), job.spec.version), ("[1]", 2));
    assert_eq!(
        (&job.spec.tags, job.due_at),
        (&before.spec.tags, before.due_at)
    );
    assert_eq!(
        unchanged(&job, |job| operate(job, &edit(0), T0)),
        Operated::Stale(1)
    );
    done(&mut job, &edit(1), State::Ready);
    // Other writes by operators count as well.
    done(&mut job, &Operation::Reschedule(Due::Now), State::Ready);
    assert_eq!(
        unchanged(&job, |job| operate(job, &edit(2), T0)),
        Operated::Stale(3)
    );
}

#[test]
fn deleting_is_the_stores_part() {
    for job in all_ended() {
        let answer = unchanged(&job, |job| operate(job, &Operation::Delete, T0));
        assert_eq!(answer, Operated::Done(job.state()));
    }
}

#[test]
fn what_the_state_does_not_allow_is_refused() {
    let check = |job: &Job, operation: &Operation| {
        let answer = unchanged(job, |job| operate(job, operation, T0));
        assert_eq!(
            answer,
            Operated::Refused(job.state()),
            "{operation:?} of {job:?}"
        );
    };
    let requeue = Operation::Requeue(Due::Now);
    let reschedule = Operation::Reschedule(Due::Now);
    for operation in [&requeue, &Operation::Delete] {
        check(&ready(|_| {}), operation);
        check(&running(|_| {}), operation);
    }
    for operation in [&reschedule, &edit(0)] {
        check(&running(|_| {}), operation);
        all_ended().iter().for_each(|job| check(job, operation));
    }
    for job in all_ended() {
        if job.state() != State::Cancelled {
            check(&job, &Operation::Cancel);
        }
    }
}
