//! T2′ and tokens: a repeated claim gets the same answer, and an old grant has no effect.

use std::time::Duration;

use bgjob::{
    Progress,
    job::{ClaimedJob, Due, End, State, transition::Operation},
    store::{Claim, Finished, Renewal, Renewed},
};

use super::bundle::{Bundle, abort, claimed, error_after, ids, plain, secs, serves, success};

pub(super) async fn a_repeated_claim_is_answered_again(t: &Bundle) {
    let id = t.add(|_| {}).await;
    let grant = t.grant();
    let first = t.claim_with(id, &grant).await;
    let stored = t.job(id).await;
    t.advance(secs(5)).await;
    let again = t.claim_with(id, &grant).await;
    assert_eq!(again.fence, first.fence, "it is the same grant");
    assert_eq!(again.claimed_at, first.claimed_at);
    assert_eq!((again.token, &again.spec), (first.token, &first.spec));
    assert_eq!(
        t.job(id).await,
        stored,
        "a repeat changes nothing, not even the lease"
    );
}

pub(super) async fn repeat_set_makes_no_difference_by_id(t: &Bundle) {
    let jobs = plain(2);
    t.add_all(&jobs).await;
    let grant = t.grant();
    t.claim_with(jobs[0].id, &grant).await;
    let repeat = grant.repeat(true);
    let answers = t.claim_by(&[jobs[1].id], &repeat, &serves()).await;
    let answers: Vec<_> = answers.into_iter().map(claimed).collect();
    assert_eq!(
        answers[0].id, jobs[1].id,
        "a claim by id answers what it was asked for"
    );
    t.claim_with(jobs[0].id, &repeat).await;
}

pub(super) async fn an_id_twice_in_one_call_is_claimed_once(t: &Bundle) {
    let id = t.add(|_| {}).await;
    let answers = t.claim_by(&[id, id], &t.grant(), &serves()).await;
    for answer in answers {
        assert_eq!(claimed(answer).fence, 1, "both answers are of one grant");
    }
}

pub(super) async fn a_repeat_for_a_job_that_has_ended_is_refused(t: &Bundle) {
    let id = t.add(|_| {}).await;
    let grant = t.grant();
    let held = t.claim_with(id, &grant).await;
    t.finish(&held, success()).await;
    let answer = t.claim_by(&[id], &grant, &serves()).await.remove(0);
    assert!(matches!(answer, Claim::Terminal), "{answer:?}");
}

pub(super) async fn a_repeat_for_a_job_somebody_else_has_is_refused(t: &Bundle) {
    let id = t.add(|_| {}).await;
    let grant = t.grant();
    let held = t.claim_with(id, &grant).await;
    t.finish(&held, End::Release).await;
    t.claim(id).await;
    let answer = t.claim_by(&[id], &grant, &serves()).await.remove(0);
    assert!(matches!(answer, Claim::Busy), "{answer:?}");
}

pub(super) async fn jobs_of_one_grant_end_each_by_itself(t: &Bundle) {
    let jobs = plain(4);
    t.add_all(&jobs).await;
    let grant = t.grant();
    let answers = t.claim_by(&ids(&jobs), &grant, &serves()).await;
    let held: Vec<_> = answers.into_iter().map(claimed).collect();
    assert_eq!(t.finish(&held[0], success()).await, State::Succeeded);
    assert_eq!(
        t.finish(&held[1], error_after(secs(60))).await,
        State::Ready
    );
    assert_eq!(t.finish(&held[2], End::Release).await, State::Ready);
    assert_eq!(
        t.state(held[3].id).await,
        State::Running,
        "the others' ends are not its own"
    );
    let renewed = t.renew_one(held[3].id, grant.token).await;
    assert_eq!(renewed, Renewed::Renewed { cancel: false });
    assert_eq!(t.finish(&held[3], success()).await, State::Succeeded);
}

/// Checks that the old holder has no effect on a job that has a new holder.
async fn replaced(t: &Bundle, old: &ClaimedJob, why: &str) {
    t.advance(secs(10)).await;
    let new = t.claim(old.id).await;
    let stored = t.job(old.id).await;
    for end in [
        success(),
        error_after(secs(1)),
        abort(),
        End::Release,
        End::Snooze(secs(1)),
    ] {
        let answer = t.try_finish(old.id, old.token, end).await;
        assert_eq!(
            answer,
            Finished::Lost,
            "a late message must not hit a new grant ({why})"
        );
    }
    let renewal = Renewal::new(old.id, old.token).progress(Progress::of(1, 2));
    assert_eq!(t.renew(&[renewal]).await, [Renewed::Lost], "{why}");
    assert_eq!(
        t.job(old.id).await,
        stored,
        "the new grant is untouched ({why})"
    );
    assert_eq!(t.finish(&new, success()).await, State::Succeeded);
}

pub(super) async fn an_old_grant_reaches_nothing_after_an_error(t: &Bundle) {
    let old = t.running(|_| {}).await;
    t.finish(&old, error_after(secs(1))).await;
    replaced(t, &old, "error").await;
}

pub(super) async fn an_old_grant_reaches_nothing_after_a_release(t: &Bundle) {
    let old = t.running(|_| {}).await;
    t.finish(&old, End::Release).await;
    replaced(t, &old, "release").await;
}

pub(super) async fn an_old_grant_reaches_nothing_after_a_snooze(t: &Bundle) {
    let old = t.running(|_| {}).await;
    t.finish(&old, End::Snooze(Duration::ZERO)).await;
    replaced(t, &old, "snooze").await;
}

pub(super) async fn an_old_grant_reaches_nothing_after_a_revoke(t: &Bundle) {
    let old = t.running(|_| {}).await;
    t.crash(&old).await;
    replaced(t, &old, "revoke").await;
}

pub(super) async fn an_old_grant_reaches_nothing_after_a_requeue(t: &Bundle) {
    let old = t.running(|_| {}).await;
    t.finish(&old, success()).await;
    t.operate(old.id, Operation::Requeue(Due::Now)).await;
    replaced(t, &old, "requeue").await;
}

pub(super) async fn an_old_grant_reaches_nothing_after_its_batch_went_on(t: &Bundle) {
    let jobs = plain(2);
    t.add_all(&jobs).await;
    let grant = t.grant();
    let answers = t.claim_by(&ids(&jobs), &grant, &serves()).await;
    let held: Vec<_> = answers.into_iter().map(claimed).collect();
    t.finish(&held[0], error_after(secs(1))).await;
    // The grant still holds its second job.
    replaced(t, &held[0], "one of a batch").await;
    assert_eq!(t.finish(&held[1], success()).await, State::Succeeded);
}
