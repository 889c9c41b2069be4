//! T7 and T11: a job whose lease ran out is revoked, a job that is too late is ended.

use bgjob::{
    JobSpec,
    job::{
        AttemptEnd, DeadReason, Due, How, State,
        transition::{Operation, SweepPolicy},
    },
    store::Swept,
};

use super::{
    bundle::{Bundle, LEASE, between, claimed, error_after, ids, plain, secs, serves},
    finish::ended,
};

pub(super) async fn a_lease_that_ran_out_is_revoked(t: &Bundle) {
    let held = t.running(|_| {}).await;
    t.advance(LEASE + secs(2)).await;
    let before = t.now().await;
    let swept = t.sweep().await;
    let after = t.now().await;
    let job = t.job(held.id).await;
    assert_eq!(swept, [Swept::revoked(&job)]);
    assert_eq!((job.state(), job.crashes, job.errors), (State::Ready, 1, 0));
    between(job.due_at, before + secs(5), after + secs(5));
    let attempt = &job.history[0];
    assert_eq!(attempt.end, AttemptEnd::Crashed { progress: None });
    assert_eq!((attempt.fence, attempt.owner), (held.fence, t.owner));
    assert_eq!(attempt.claimed_at, held.claimed_at);
    between(attempt.ended_at, before, after);
}

pub(super) async fn a_job_is_revoked_once(t: &Bundle) {
    let held = t.running(|_| {}).await;
    t.advance(LEASE + secs(2)).await;
    assert_eq!(t.sweep().await.len(), 1);
    assert!(t.sweep().await.is_empty());
    assert_eq!(t.job(held.id).await.crashes, 1);
}

pub(super) async fn a_lease_that_runs_is_left_alone(t: &Bundle) {
    let held = t.running(|_| {}).await;
    let stored = t.job(held.id).await;
    t.advance(LEASE - secs(5)).await;
    assert!(t.sweep().await.is_empty());
    assert_eq!(t.job(held.id).await, stored);
}

pub(super) async fn the_margin_is_waited_for(t: &Bundle) {
    let policy = SweepPolicy::default().margin(secs(60));
    let held = t.running(|_| {}).await;
    t.advance(LEASE + secs(50)).await;
    assert!(
        t.sweep_by(10, &policy).await.is_empty(),
        "clocks may differ by so much"
    );
    assert_eq!(t.state(held.id).await, State::Running);
    t.advance(secs(11)).await;
    assert_eq!(t.sweep_by(10, &policy).await.len(), 1);
}

pub(super) async fn each_crash_waits_longer_and_the_last_is_death(t: &Bundle) {
    let id = t
        .add(|spec| (spec.max_crashes, spec.retain) = (5, secs(1)))
        .await;
    for (nth, wait) in [5, 60, 600, 600].into_iter().enumerate() {
        let held = t.claim(id).await;
        assert_eq!(held.crashes as usize, nth);
        t.advance(LEASE + secs(2)).await;
        let before = t.now().await;
        t.sweep().await;
        let due_at = t.job(id).await.due_at;
        between(due_at, before + secs(wait), t.now().await + secs(wait));
        t.advance(secs(wait)).await;
    }
    t.claim(id).await;
    t.advance(LEASE + secs(2)).await;
    let swept = t.sweep().await;
    let job = t.job(id).await;
    assert_eq!(swept, [Swept::revoked(&job)]);
    assert_eq!(ended(&job).how, How::Dead(DeadReason::Crashes));
    assert_eq!(
        ended(&job).purge_at,
        ended(&job).at + JobSpec::RETAIN_DEAD,
        "kept 30 days"
    );
    assert_eq!((job.crashes, job.errors, job.history.len()), (5, 0, 5));
}

pub(super) async fn errors_and_crashes_have_budgets_of_their_own(t: &Bundle) {
    let id = t
        .add(|spec| (spec.max_attempts, spec.max_crashes) = (2, 2))
        .await;
    let held = t.claim(id).await;
    t.finish(&held, error_after(std::time::Duration::ZERO))
        .await;
    let held = t.claim(id).await;
    t.crash(&held).await;
    let job = t.job(id).await;
    assert_eq!((job.state(), job.errors, job.crashes), (State::Ready, 1, 1));
}

pub(super) async fn the_policys_waits_are_used(t: &Bundle) {
    let policy = SweepPolicy::default().crash_backoff(vec![secs(1), secs(2)]);
    let id = t.add(|spec| spec.max_crashes = 10).await;
    for wait in [1, 2, 2] {
        t.claim(id).await;
        t.advance(LEASE + secs(2)).await;
        let before = t.now().await;
        t.sweep_by(10, &policy).await;
        between(
            t.job(id).await.due_at,
            before + secs(wait),
            t.now().await + secs(wait),
        );
        t.advance(secs(wait)).await;
    }
}

pub(super) async fn a_policy_without_waits_waits_not_at_all(t: &Bundle) {
    let policy = SweepPolicy::default().crash_backoff(Vec::new());
    let held = t.running(|_| {}).await;
    t.advance(LEASE + secs(2)).await;
    assert_eq!(t.sweep_by(10, &policy).await.len(), 1);
    t.claim(held.id).await;
}

pub(super) async fn a_cancelled_job_that_crashes_is_cancelled(t: &Bundle) {
    let held = t.running(|spec| spec.max_crashes = 1).await;
    t.operate(held.id, Operation::Cancel).await;
    t.advance(LEASE + secs(2)).await;
    let swept = t.sweep().await;
    let job = t.job(held.id).await;
    assert_eq!(swept, [Swept::revoked(&job)]);
    assert_eq!((job.state(), job.crashes), (State::Cancelled, 1));
}

pub(super) async fn a_crash_ends_expires_but_not_the_deadline(t: &Bundle) {
    let limits = |spec: &mut JobSpec| {
        (spec.expires, spec.deadline) = (Some(secs(10)), Some(secs(3600)));
    };
    let held = t.running(limits).await;
    let deadline_at = t.job(held.id).await.deadline_at;
    t.crash(&held).await;
    let job = t.job(held.id).await;
    assert_eq!((job.expires_at, job.deadline_at), (None, deadline_at));
}

pub(super) async fn what_is_past_expires_is_dead(t: &Bundle) {
    let id = t.add(|spec| spec.expires = Some(secs(60))).await;
    t.advance(secs(55)).await;
    assert!(t.sweep().await.is_empty(), "there is time");
    t.advance(secs(5)).await;
    let swept = t.sweep().await;
    let job = t.job(id).await;
    assert_eq!(swept, [Swept::expired(&job)]);
    assert_eq!(ended(&job).how, How::Dead(DeadReason::Expired));
    assert_eq!((job.errors, job.crashes, job.history.len()), (0, 0, 0));
}

pub(super) async fn what_is_past_its_deadline_is_dead(t: &Bundle) {
    let id = t
        .add(|spec| (spec.deadline, spec.expires) = (Some(secs(60)), Some(secs(50))))
        .await;
    t.advance(secs(61)).await;
    let swept = t.sweep().await;
    assert_eq!(swept, [Swept::expired(&t.job(id).await)]);
    let how = ended(&t.job(id).await).how.clone();
    assert_eq!(
        how,
        How::Dead(DeadReason::Deadline),
        "the harder limit is the reason"
    );
}

pub(super) async fn a_retry_that_waits_past_its_deadline_is_dead(t: &Bundle) {
    let held = t.running(|spec| spec.deadline = Some(secs(60))).await;
    t.finish(&held, error_after(secs(30))).await;
    t.advance(secs(61)).await;
    let swept = t.sweep().await;
    let job = t.job(held.id).await;
    assert_eq!(swept, [Swept::expired(&job)], "nobody came for it");
    assert!(job.last_error().is_some());
}

pub(super) async fn a_running_job_is_not_expired(t: &Bundle) {
    let limits = |spec: &mut JobSpec| {
        (spec.expires, spec.deadline) = (Some(secs(5)), Some(secs(10)));
    };
    let held = t.running(limits).await;
    t.advance(secs(20)).await;
    assert!(
        t.sweep().await.is_empty(),
        "a running job is its holder's to end"
    );
    assert_eq!(t.state(held.id).await, State::Running);
}

pub(super) async fn a_delayed_job_expires_after_it_was_due(t: &Bundle) {
    let id = t
        .add_due(Due::After(secs(60)), |spec| spec.expires = Some(secs(10)))
        .await;
    t.advance(secs(65)).await;
    assert!(
        t.sweep().await.is_empty(),
        "`expires` counts from when it is due"
    );
    t.advance(secs(5)).await;
    let swept = t.sweep().await;
    assert_eq!(swept, [Swept::expired(&t.job(id).await)]);
}

pub(super) async fn the_limit_bounds_all_of_it(t: &Bundle) {
    let jobs = plain(6);
    t.add_all(&jobs).await;
    let answers = t.claim_by(&ids(&jobs), &t.grant(), &serves()).await;
    answers.into_iter().for_each(|answer| _ = claimed(answer));
    for _ in 0..4 {
        t.add(|spec| spec.expires = Some(secs(10))).await;
    }
    t.advance(LEASE + secs(2)).await;
    let policy = SweepPolicy::default();
    assert!(t.sweep_by(0, &policy).await.is_empty());
    let mut swept = Vec::new();
    for expected in [4, 4, 2, 0] {
        let some = t.sweep_by(4, &policy).await;
        assert_eq!(
            some.len(),
            expected,
            "at most the limit, and the rest the next time"
        );
        swept.extend(some);
    }
    let revoked = swept
        .iter()
        .filter(|s| matches!(s, Swept::Revoked { .. }))
        .count();
    assert_eq!((revoked, swept.len()), (6, 10));
}

pub(super) async fn an_empty_store_has_nothing_to_sweep(t: &Bundle) {
    let policy = SweepPolicy::default().touch(Some(SweepPolicy::TOUCH));
    assert!(t.sweep_by(10, &policy).await.is_empty());
}
