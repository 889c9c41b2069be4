//! T9, T10 and T12: what an operator may do to a job, state by state.

use bgjob::{
    Job, JobId, JobSpec, Json, Progress,
    job::{
        Due, End, How, Phase, State,
        transition::{Operated, Operation},
    },
    store::{Claim, Created, Finished},
};

use super::{
    bundle::{Bundle, To, between, error_after, new, secs, success},
    finish::ended,
};

fn edit(metadata: &str, version: u32, ver: u64) -> Operation {
    Operation::Edit {
        metadata: Json::trusted(metadata),
        version,
        ver,
    }
}

/// A job in each state.
async fn one_of_each(t: &Bundle) -> [(State, JobId); 5] {
    [
        (State::Ready, t.add(|_| {}).await),
        (State::Running, t.running(|_| {}).await.id),
        (State::Succeeded, t.ended(To::Success, |_| {}).await),
        (State::Dead, t.ended(To::Death, |_| {}).await),
        (State::Cancelled, t.ended(To::Cancelled, |_| {}).await),
    ]
}

/// Checks that the operation is refused in these states, and changes nothing.
async fn refused(t: &Bundle, operation: Operation, states: &[State]) {
    for (state, id) in one_of_each(t).await {
        if states.contains(&state) {
            let before = t.job(id).await;
            let answer = t.operate(id, operation.clone()).await;
            assert_eq!(answer, Operated::Refused(state), "{operation:?}");
            assert_eq!(t.job(id).await, before, "a refusal changes nothing");
        }
    }
}

pub(super) async fn an_unknown_job_is_missing(t: &Bundle) {
    let operations = [
        Operation::Cancel,
        Operation::Requeue(Due::Now),
        Operation::Reschedule(Due::Now),
        edit("1", 0, 0),
        Operation::Delete,
    ];
    for operation in operations {
        assert_eq!(t.operate(JobId::new(), operation).await, Operated::Missing);
    }
}

pub(super) async fn cancel_ends_a_waiting_job(t: &Bundle) {
    for due in [Due::Now, Due::After(secs(60))] {
        let id = t.add_due(due, |_| {}).await;
        let before = t.now().await;
        let answer = t.operate(id, Operation::Cancel).await;
        assert_eq!(answer, Operated::Done(State::Cancelled));
        let job = t.job(id).await;
        assert_eq!((&ended(&job).how, job.ver), (&How::Cancelled, 1));
        between(ended(&job).at, before, t.now().await);
        assert_eq!(ended(&job).purge_at, ended(&job).at + job.spec.retain);
    }
}

pub(super) async fn cancel_flags_a_running_job(t: &Bundle) {
    let held = t.running(|_| {}).await;
    for ver in 1..=2 {
        let answer = t.operate(held.id, Operation::Cancel).await;
        assert_eq!(
            answer,
            Operated::Done(State::Running),
            "asking twice is asking once"
        );
        let job = t.job(held.id).await;
        assert!(matches!(&job.phase, Phase::Running(hold) if hold.cancel && job.ver == ver));
    }
    assert!(
        matches!(t.try_claim(held.id).await, Claim::Busy),
        "its holder still has it"
    );
}

pub(super) async fn cancel_twice_is_cancel_once(t: &Bundle) {
    let id = t.ended(To::Cancelled, |_| {}).await;
    let end = ended(&t.job(id).await).clone();
    let answer = t.operate(id, Operation::Cancel).await;
    assert_eq!(answer, Operated::Done(State::Cancelled));
    assert_eq!(*ended(&t.job(id).await), end, "it ended when it did");
}

pub(super) async fn cancel_does_not_undo_an_end(t: &Bundle) {
    refused(t, Operation::Cancel, &[State::Succeeded, State::Dead]).await;
}

pub(super) async fn requeue_starts_a_new_epoch(t: &Bundle) {
    for to in To::ALL {
        let id = t.ended(to, |_| {}).await;
        let before = t.job(id).await;
        let from = t.now().await;
        let answer = t.operate(id, Operation::Requeue(Due::Now)).await;
        assert_eq!(answer, Operated::Done(State::Ready), "{to:?}");
        let job = t.job(id).await;
        assert_eq!((job.state(), job.epoch), (State::Ready, 1));
        assert_eq!(
            (job.errors, job.crashes, &job.progress),
            (0, 0, &None),
            "counters at zero"
        );
        assert_eq!(job.ver, before.ver + 1);
        assert_eq!(job.fence, before.fence, "the fence never goes back");
        assert_eq!(
            job.history, before.history,
            "what happened is not forgotten"
        );
        assert_eq!(job.spec, before.spec);
        between(job.due_at, from, t.now().await);
    }
}

pub(super) async fn a_requeued_job_runs_to_a_new_end(t: &Bundle) {
    let id = t.add(|spec| spec.max_attempts = 1).await;
    for epoch in 0..3 {
        let held = t.claim(id).await;
        assert_eq!(
            (held.epoch, held.errors),
            (epoch, 0),
            "the budgets are whole again"
        );
        let state = t.finish(&held, error_after(secs(0))).await;
        assert_eq!(state, State::Dead);
        t.operate(id, Operation::Requeue(Due::Now)).await;
    }
    t.end(id, To::Success).await;
    assert_eq!(t.job(id).await.epoch, 3);
}

pub(super) async fn requeue_forgets_progress_and_crashes(t: &Bundle) {
    let held = t.running(|spec| spec.max_crashes = 1).await;
    t.report(&held, Progress::of(1, 2)).await;
    t.crash(&held).await;
    t.operate(held.id, Operation::Requeue(Due::Now)).await;
    let job = t.job(held.id).await;
    assert_eq!((job.crashes, job.progress), (0, None), "they are forgotten");
    let unwanting = super::bundle::serving(&[(super::bundle::NAME, 1)], false);
    let answer = t
        .claim_by(&[held.id], &t.grant(), &unwanting)
        .await
        .remove(0);
    assert!(matches!(answer, Claim::Claimed(_)), "{answer:?}");
}

pub(super) async fn requeue_for_later_waits(t: &Bundle) {
    let limits = |spec: &mut JobSpec| {
        (spec.expires, spec.deadline) = (Some(secs(10)), Some(secs(20)));
    };
    let id = t.ended(To::Success, limits).await;
    t.advance(secs(3600)).await;
    t.operate(id, Operation::Requeue(Due::After(secs(60))))
        .await;
    let job = t.job(id).await;
    assert!(matches!(t.try_claim(id).await, Claim::NotDue));
    assert_eq!(
        job.expires_at,
        Some(job.due_at + secs(10)),
        "its limits are new"
    );
    assert_eq!(job.deadline_at, Some(job.due_at + secs(20)));
    t.advance(secs(60)).await;
    t.claim(id).await;
}

pub(super) async fn requeue_is_for_what_is_over(t: &Bundle) {
    refused(
        t,
        Operation::Requeue(Due::Now),
        &[State::Ready, State::Running],
    )
    .await;
}

pub(super) async fn reschedule_moves_a_waiting_job(t: &Bundle) {
    let id = t.add(|spec| spec.expires = Some(secs(10))).await;
    let from = t.now().await;
    let later = Operation::Reschedule(Due::After(secs(60)));
    assert_eq!(t.operate(id, later).await, Operated::Done(State::Ready));
    let job = t.job(id).await;
    between(job.due_at, from + secs(60), t.now().await + secs(60));
    assert_eq!(
        job.expires_at,
        Some(job.due_at + secs(10)),
        "its limits move along"
    );
    assert_eq!(job.ver, 1);
    assert!(matches!(t.try_claim(id).await, Claim::NotDue));
    assert_eq!(
        t.operate(id, Operation::Reschedule(Due::Now)).await,
        Operated::Done(State::Ready)
    );
    t.claim(id).await;
}

pub(super) async fn reschedule_of_a_retry_leaves_its_deadline(t: &Bundle) {
    let held = t.running(|spec| spec.deadline = Some(secs(3600))).await;
    let deadline_at = t.job(held.id).await.deadline_at;
    t.finish(&held, error_after(secs(600))).await;
    t.advance(secs(60)).await;
    t.operate(held.id, Operation::Reschedule(Due::Now)).await;
    let job = t.job(held.id).await;
    assert_eq!(
        (job.deadline_at, job.errors),
        (deadline_at, 1),
        "it counts over all attempts"
    );
    t.claim(held.id).await;
}

pub(super) async fn reschedule_does_not_let_a_started_job_expire(t: &Bundle) {
    let held = t.running(|spec| spec.expires = Some(secs(10))).await;
    t.finish(&held, End::Snooze(secs(1))).await;
    let later = Operation::Reschedule(Due::After(secs(60)));
    assert_eq!(
        t.operate(held.id, later).await,
        Operated::Done(State::Ready)
    );
    assert_eq!(
        t.job(held.id).await.expires_at,
        None,
        "expires is for the first start"
    );
}

pub(super) async fn reschedule_is_for_what_waits(t: &Bundle) {
    let states = [
        State::Running,
        State::Succeeded,
        State::Dead,
        State::Cancelled,
    ];
    refused(t, Operation::Reschedule(Due::Now), &states).await;
}

pub(super) async fn edit_replaces_the_metadata(t: &Bundle) {
    let id = t
        .add(|spec| (spec.tags, spec.version) = (vec!["x".into()], 0))
        .await;
    let before = t.job(id).await;
    assert_eq!(
        t.operate(id, edit(r#"{"picture":9}"#, 1, 0)).await,
        Operated::Done(State::Ready)
    );
    let job = t.job(id).await;
    let mut expected: Job = before;
    let mut spec = (*expected.spec).clone();
    (spec.metadata, spec.version) = (Json::trusted(r#"{"picture":9}"#), 1);
    (expected.spec, expected.ver) = (spec.into(), 1);
    assert_eq!(job, expected, "and nothing else");
    let held = t.claim(id).await;
    assert_eq!(held.spec, job.spec, "whoever claims it sees the edit");
}

pub(super) async fn an_edit_of_an_old_version_is_stale(t: &Bundle) {
    let id = t.add(|_| {}).await;
    t.operate(id, edit("1", 1, 0)).await;
    assert_eq!(
        t.operate(id, edit("2", 1, 0)).await,
        Operated::Stale(1),
        "someone was faster"
    );
    assert_eq!(t.job(id).await.spec.metadata.as_str(), "1");
    t.operate(id, Operation::Reschedule(Due::Now)).await;
    assert_eq!(t.operate(id, edit("2", 1, 1)).await, Operated::Stale(2));
    assert_eq!(
        t.operate(id, edit("2", 1, 2)).await,
        Operated::Done(State::Ready)
    );
}

pub(super) async fn edit_is_for_what_waits(t: &Bundle) {
    let states = [
        State::Running,
        State::Succeeded,
        State::Dead,
        State::Cancelled,
    ];
    refused(t, edit("1", 1, 0), &states).await;
}

pub(super) async fn the_ver_is_the_operators_alone(t: &Bundle) {
    let held = t.running(|_| {}).await;
    t.finish(&held, error_after(secs(0))).await;
    let held = t.claim(held.id).await;
    t.crash(&held).await;
    t.advance(secs(6)).await;
    t.end(held.id, To::Success).await;
    assert_eq!(t.job(held.id).await.ver, 0, "what workers do is no edit");
}

pub(super) async fn delete_forgets_what_is_over(t: &Bundle) {
    for to in To::ALL {
        let id = t.ended(to, |_| {}).await;
        let state = t.state(id).await;
        assert_eq!(
            t.operate(id, Operation::Delete).await,
            Operated::Done(state)
        );
        assert_eq!(t.get(id).await, None);
        assert_eq!(
            t.operate(id, Operation::Delete).await,
            Operated::Missing,
            "once"
        );
        assert!(matches!(t.try_claim(id).await, Claim::Missing));
    }
    assert_eq!(t.counts(super::bundle::QUEUE).await, []);
}

pub(super) async fn delete_is_for_what_is_over(t: &Bundle) {
    refused(t, Operation::Delete, &[State::Ready, State::Running]).await;
}

pub(super) async fn a_deleted_id_is_free(t: &Bundle) {
    let job = new(|_| {});
    t.add_all(std::slice::from_ref(&job)).await;
    t.end(job.id, To::Success).await;
    t.operate(job.id, Operation::Delete).await;
    assert_eq!(
        t.create(std::slice::from_ref(&job)).await,
        [Created::Created]
    );
    t.claim(job.id).await;
}

pub(super) async fn an_old_token_does_not_reach_a_requeued_job(t: &Bundle) {
    let held = t.running(|_| {}).await;
    t.finish(&held, success()).await;
    t.operate(held.id, Operation::Requeue(Due::Now)).await;
    let again = t.try_finish(held.id, held.token, success()).await;
    assert_eq!(again, Finished::Lost, "one success an epoch");
    assert_eq!(t.state(held.id).await, State::Ready);
}
