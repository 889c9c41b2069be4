//! T4–T6: how attempts end, and what is kept of them.

use std::time::Duration;

use bgjob::{
    Job, JobId, JobSpec, Json,
    job::{
        AttemptEnd, DeadReason, End, Ended, Failure, FailureKind, How, Phase, Retry, State, Token,
        transition::Operation,
    },
    store::{Ending, Finished},
};

use super::bundle::{
    Bundle, DAY, abort, between, claimed, error_after, failure, ids, plain, secs, serves, success,
};

pub(super) fn ended(job: &Job) -> &Ended {
    match &job.phase {
        Phase::Ended(end) => end,
        phase => panic!("the job is over: {phase:?}"),
    }
}

pub(super) async fn success_keeps_the_result(t: &Bundle) {
    let held = t.running(|spec| spec.retain = 2 * DAY).await;
    let before = t.now().await;
    assert_eq!(t.finish(&held, success()).await, State::Succeeded);
    let after = t.now().await;
    let job = t.job(held.id).await;
    let end = ended(&job);
    assert_eq!(end.how, How::Succeeded(Json::trusted(r#"{"ok":true}"#)));
    between(end.at, before, after);
    assert_eq!(
        end.purge_at,
        end.at + 2 * DAY,
        "it is kept as long as it asks for"
    );
    assert!(
        job.history.is_empty(),
        "successes are not kept in the history"
    );
}

pub(super) async fn a_repeated_finish_changes_nothing(t: &Bundle) {
    for end in [success(), error_after(secs(60)), abort(), End::Release] {
        let held = t.running(|_| {}).await;
        let state = t.finish(&held, end.clone()).await;
        let stored = t.job(held.id).await;
        let again = t.try_finish(held.id, held.token, end.clone()).await;
        let fine = [Finished::Lost, Finished::Applied(state)];
        assert!(fine.contains(&again), "lost, or the same again: {again:?}");
        assert_eq!(
            t.job(held.id).await,
            stored,
            "a repeat of {end:?} changes nothing"
        );
    }
}

pub(super) async fn a_second_end_does_not_replace_the_first(t: &Bundle) {
    let held = t.running(|_| {}).await;
    t.finish(&held, success()).await;
    let stored = t.job(held.id).await;
    t.try_finish(held.id, held.token, abort()).await;
    assert_eq!(t.job(held.id).await, stored, "terminal states absorb");
}

pub(super) async fn a_wrong_token_is_lost(t: &Bundle) {
    let held = t.running(|_| {}).await;
    let stored = t.job(held.id).await;
    for end in [
        success(),
        error_after(secs(1)),
        abort(),
        End::Release,
        End::Snooze(secs(1)),
    ] {
        let answer = t.try_finish(held.id, Token::random(), end.clone()).await;
        assert_eq!(
            answer,
            Finished::Lost,
            "only the current token commits: {end:?}"
        );
    }
    assert_eq!(t.job(held.id).await, stored);
}

pub(super) async fn what_is_not_running_is_lost(t: &Bundle) {
    let id = t.add(|_| {}).await;
    let stored = t.job(id).await;
    assert_eq!(
        t.try_finish(id, Token::random(), success()).await,
        Finished::Lost
    );
    assert_eq!(
        t.job(id).await,
        stored,
        "a waiting job is not ended by anybody's token"
    );
    let unknown = t.try_finish(JobId::new(), Token::random(), success()).await;
    assert_eq!(
        unknown,
        Finished::Lost,
        "an unknown job is lost, not an error"
    );
}

pub(super) async fn an_error_waits_for_the_next_attempt(t: &Bundle) {
    let held = t.running(|_| {}).await;
    let before = t.now().await;
    assert_eq!(t.finish(&held, error_after(secs(60))).await, State::Ready);
    let after = t.now().await;
    let job = t.job(held.id).await;
    assert_eq!((job.errors, job.crashes, job.epoch), (1, 0, 0));
    between(job.due_at, before + secs(60), after + secs(60));
}

pub(super) async fn an_error_is_kept_in_the_history(t: &Bundle) {
    let held = t.running(|_| {}).await;
    let mut failure = failure();
    failure.kind = FailureKind::Panic;
    failure
        .messages
        .extend(["caused by x".into(), String::new(), "and y".into()]);
    let end = End::Error {
        failure: failure.clone(),
        retry: Retry::After(secs(1)),
    };
    let before = t.now().await;
    t.finish(&held, end).await;
    let job = t.job(held.id).await;
    assert_eq!(job.history.len(), 1);
    let attempt = &job.history[0];
    assert_eq!(attempt.end, AttemptEnd::Failed(failure));
    assert_eq!((attempt.fence, attempt.owner), (held.fence, t.owner));
    assert_eq!(attempt.claimed_at, held.claimed_at);
    between(attempt.ended_at, before, t.now().await);
}

pub(super) async fn the_last_error_of_the_budget_is_death(t: &Bundle) {
    let id = t
        .add(|spec| (spec.max_attempts, spec.retain) = (2, secs(1)))
        .await;
    let held = t.claim(id).await;
    assert_eq!(
        t.finish(&held, error_after(Duration::ZERO)).await,
        State::Ready
    );
    let held = t.claim(id).await;
    assert_eq!(
        t.finish(&held, error_after(Duration::ZERO)).await,
        State::Dead
    );
    let job = t.job(id).await;
    assert_eq!(ended(&job).how, How::Dead(DeadReason::Errors));
    assert_eq!(
        ended(&job).purge_at,
        ended(&job).at + JobSpec::RETAIN_DEAD,
        "kept 30 days"
    );
    assert_eq!((job.errors, job.history.len()), (2, 2));
}

pub(super) async fn never_again_is_death_for_its_reason(t: &Bundle) {
    for reason in [DeadReason::Aborted, DeadReason::Decode] {
        let held = t.running(|_| {}).await;
        let end = End::Error {
            failure: failure(),
            retry: Retry::Never(reason),
        };
        assert_eq!(t.finish(&held, end).await, State::Dead);
        let job = t.job(held.id).await;
        assert_eq!(ended(&job).how, How::Dead(reason));
        assert_eq!((job.errors, job.history.len()), (1, 1), "the error is kept");
    }
}

pub(super) async fn a_retry_past_the_deadline_is_death(t: &Bundle) {
    let held = t.running(|spec| spec.deadline = Some(secs(30))).await;
    assert_eq!(
        t.finish(&held, error_after(secs(10))).await,
        State::Ready,
        "there is time"
    );
    t.advance(secs(10)).await;
    let held = t.claim(held.id).await;
    assert_eq!(
        t.finish(&held, error_after(secs(20))).await,
        State::Dead,
        "there is none left"
    );
    assert_eq!(
        ended(&t.job(held.id).await).how,
        How::Dead(DeadReason::Deadline)
    );
}

pub(super) async fn the_first_error_ends_expires_but_not_the_deadline(t: &Bundle) {
    let limits = |spec: &mut JobSpec| {
        (spec.expires, spec.deadline) = (Some(secs(60)), Some(secs(600)));
    };
    let held = t.running(limits).await;
    let deadline_at = t.job(held.id).await.deadline_at;
    t.finish(&held, error_after(secs(5))).await;
    let job = t.job(held.id).await;
    assert_eq!((job.expires_at, job.deadline_at), (None, deadline_at));
}

pub(super) async fn what_has_started_does_not_expire(t: &Bundle) {
    for end in [End::Release, End::Snooze(secs(1)), error_after(secs(1))] {
        let held = t.running(|spec| spec.expires = Some(secs(5))).await;
        t.finish(&held, end.clone()).await;
        assert_eq!(
            t.job(held.id).await.expires_at,
            None,
            "it has started: {end:?}"
        );
        t.advance(secs(10)).await;
        assert!(t.sweep().await.is_empty());
        t.claim(held.id).await;
        // So that the next job's sweep does not see it.
        t.operate(held.id, Operation::Cancel).await;
    }
}

pub(super) async fn success_ends_expires_too(t: &Bundle) {
    let held = t.running(|spec| spec.expires = Some(secs(5))).await;
    t.finish(&held, success()).await;
    assert_eq!(t.job(held.id).await.expires_at, None, "it has started");
}

pub(super) async fn a_release_costs_nothing(t: &Bundle) {
    let held = t
        .running(|spec| (spec.max_attempts, spec.max_crashes) = (1, 1))
        .await;
    t.advance(secs(5)).await;
    assert_eq!(t.finish(&held, End::Release).await, State::Ready);
    let job = t.job(held.id).await;
    assert_eq!((job.errors, job.crashes, job.history.len()), (0, 0, 0));
    assert_eq!(
        job.due_at, held.due_at,
        "it keeps its place among those that wait"
    );
    assert!(
        t.claim(held.id).await.fence > held.fence,
        "and is ready at once"
    );
}

pub(super) async fn a_snooze_costs_nothing(t: &Bundle) {
    let held = t.running(|spec| spec.max_attempts = 1).await;
    let before = t.now().await;
    assert_eq!(t.finish(&held, End::Snooze(secs(60))).await, State::Ready);
    let job = t.job(held.id).await;
    between(job.due_at, before + secs(60), t.now().await + secs(60));
    assert_eq!((job.errors, job.crashes, job.history.len()), (0, 0, 0));
}

pub(super) async fn counters_stay_over_releases_and_snoozes(t: &Bundle) {
    let held = t.running(|_| {}).await;
    t.finish(&held, error_after(Duration::ZERO)).await;
    for end in [End::Release, End::Snooze(Duration::ZERO)] {
        let held = t.claim(held.id).await;
        assert_eq!(held.errors, 1);
        t.finish(&held, end).await;
    }
    let job = t.job(held.id).await;
    assert_eq!((job.errors, job.history.len()), (1, 1));
}

pub(super) async fn what_is_cancelled_does_not_run_again(t: &Bundle) {
    let ends = [
        error_after(secs(1)),
        abort(),
        End::Release,
        End::Snooze(secs(1)),
    ];
    for end in ends {
        let held = t.running(|spec| spec.retain = secs(77)).await;
        t.operate(held.id, Operation::Cancel).await;
        assert_eq!(
            t.finish(&held, end.clone()).await,
            State::Cancelled,
            "{end:?}"
        );
        let job = t.job(held.id).await;
        assert_eq!(
            ended(&job).purge_at,
            ended(&job).at + secs(77),
            "kept like a success"
        );
        let failed = matches!(end, End::Error { .. });
        assert_eq!(
            job.history.len(),
            usize::from(failed),
            "an error is kept: {end:?}"
        );
    }
}

pub(super) async fn success_counts_although_cancelled(t: &Bundle) {
    let held = t.running(|_| {}).await;
    t.operate(held.id, Operation::Cancel).await;
    assert_eq!(
        t.finish(&held, success()).await,
        State::Succeeded,
        "what is done is done"
    );
}

pub(super) async fn a_late_finish_counts_if_nobody_revoked(t: &Bundle) {
    let held = t.running(|_| {}).await;
    t.advance(secs(3600)).await;
    assert_eq!(t.finish(&held, success()).await, State::Succeeded);
}

pub(super) async fn a_finish_after_a_revoke_is_lost(t: &Bundle) {
    let held = t.running(|_| {}).await;
    t.crash(&held).await;
    let stored = t.job(held.id).await;
    assert_eq!(
        t.try_finish(held.id, held.token, success()).await,
        Finished::Lost
    );
    assert_eq!(t.job(held.id).await, stored);
}

pub(super) async fn a_finish_after_death_by_crashes_is_lost(t: &Bundle) {
    let held = t.running(|spec| spec.max_crashes = 1).await;
    t.crash(&held).await;
    assert_eq!(t.state(held.id).await, State::Dead);
    assert_eq!(
        t.try_finish(held.id, held.token, success()).await,
        Finished::Lost
    );
    assert_eq!(
        t.state(held.id).await,
        State::Dead,
        "terminal states absorb"
    );
}

pub(super) async fn a_batch_answers_in_order_and_one_bad_end_hurts_nobody(t: &Bundle) {
    let jobs = plain(5);
    t.add_all(&jobs).await;
    let answers = t.claim_by(&ids(&jobs), &t.grant(), &serves()).await;
    let held: Vec<_> = answers.into_iter().map(claimed).collect();
    let end = |nth: usize, end| Ending::new(held[nth].id, held[nth].token, end);
    let mut ends = [
        end(4, success()),
        end(0, error_after(secs(1))),
        end(2, success()),
        end(1, abort()),
    ];
    ends[2].token = Token::random();
    use Finished::{Applied, Lost};
    let expected = [
        Applied(State::Succeeded),
        Applied(State::Ready),
        Lost,
        Applied(State::Dead),
    ];
    assert_eq!(t.finish_all(&ends).await, expected);
    assert_eq!(t.state(held[2].id).await, State::Running);
    assert_eq!(
        t.state(held[3].id).await,
        State::Running,
        "who is not named goes on"
    );
}

pub(super) async fn a_job_twice_in_a_batch_ends_once(t: &Bundle) {
    let held = t.running(|_| {}).await;
    let ending = |end| Ending::new(held.id, held.token, end);
    let answers = t
        .finish_all(&[ending(error_after(secs(1))), ending(abort())])
        .await;
    assert_eq!(answers, [Finished::Applied(State::Ready), Finished::Lost]);
    assert_eq!(t.job(held.id).await.errors, 1);
}

pub(super) async fn an_empty_batch_is_no_error(t: &Bundle) {
    assert!(t.finish_all(&[]).await.is_empty());
}

pub(super) async fn the_history_keeps_the_last_attempts(t: &Bundle) {
    let id = t.add(|spec| spec.max_attempts = 100).await;
    let kept = bgjob::job::limits::HISTORY;
    for nth in 0..kept + 2 {
        let held = t.claim(id).await;
        let failure = Failure::new(FailureKind::Error, nth.to_string());
        let retry = Retry::After(Duration::ZERO);
        t.finish(&held, End::Error { failure, retry }).await;
    }
    let job = t.job(id).await;
    let said = |attempt: &bgjob::job::Attempt| match &attempt.end {
        AttemptEnd::Failed(failure) => failure.message().to_owned(),
        crash => panic!("{crash:?}"),
    };
    let expected: Vec<_> = (2..kept + 2).map(|nth| nth.to_string()).collect();
    assert_eq!(
        job.history.iter().map(said).collect::<Vec<_>>(),
        expected,
        "oldest first"
    );
    assert_eq!(job.errors as usize, kept + 2, "the count goes on");
}
