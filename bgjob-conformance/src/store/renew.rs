//! T3: a renewal extends the lease, stores the progress, and returns requests to end.

use bgjob::{
    Job, JobId, Progress,
    job::{
        AttemptEnd, Phase, State, Token,
        transition::{Operated, Operation},
    },
    store::{Renewal, Renewed},
};

use super::bundle::{Bundle, LEASE, To, claimed, ids, plain, secs, serves, success};

const GOES_ON: Renewed = Renewed::Renewed { cancel: false };

fn lease_until(job: &Job) -> bgjob::Timestamp {
    match &job.phase {
        Phase::Running(hold) => hold.lease_until,
        phase => panic!("a renewed job runs: {phase:?}"),
    }
}

pub(super) async fn a_renewal_moves_the_lease_on(t: &Bundle) {
    let held = t.running(|_| {}).await;
    t.advance(secs(10)).await;
    let before = t.now().await;
    assert_eq!(t.renew_one(held.id, held.token).await, GOES_ON);
    super::bundle::between(
        lease_until(&t.job(held.id).await),
        before + LEASE,
        t.now().await + LEASE,
    );
}

pub(super) async fn a_renewed_job_is_not_revoked(t: &Bundle) {
    let held = t.running(|_| {}).await;
    for _ in 0..5 {
        t.advance(secs(20)).await;
        assert_eq!(t.renew_one(held.id, held.token).await, GOES_ON);
        assert!(t.sweep().await.is_empty(), "its lease has not run out");
    }
    assert_eq!(t.finish(&held, success()).await, State::Succeeded);
}

pub(super) async fn only_the_renewed_of_a_batch_stay(t: &Bundle) {
    let jobs = plain(3);
    t.add_all(&jobs).await;
    let answers = t.claim_by(&ids(&jobs), &t.grant(), &serves()).await;
    let held: Vec<_> = answers.into_iter().map(claimed).collect();
    t.advance(secs(20)).await;
    assert_eq!(t.renew_one(held[1].id, held[1].token).await, GOES_ON);
    t.advance(secs(15)).await;
    assert_eq!(t.sweep().await.len(), 2, "leases run out one by one");
    assert_eq!(t.state(held[1].id).await, State::Running);
    t.advance(secs(20)).await;
    assert_eq!(t.sweep().await.len(), 1, "and the last one in the end");
}

pub(super) async fn a_renewal_never_shortens_a_lease(t: &Bundle) {
    let held = t.running(|_| {}).await;
    let before = lease_until(&t.job(held.id).await);
    let renewal = Renewal::new(held.id, held.token);
    let answer = t
        .store
        .renew(&[renewal], secs(1))
        .await
        .expect("renew answers");
    assert_eq!(answer, [GOES_ON]);
    assert_eq!(lease_until(&t.job(held.id).await), before);
}

pub(super) async fn progress_is_stored(t: &Bundle) {
    let held = t.running(|_| {}).await;
    let half = Progress::of(50, 100).note("resizing");
    t.report(&held, half.clone()).await;
    assert_eq!(t.job(held.id).await.progress, Some(half.clone()));
    t.renew_one(held.id, held.token).await;
    assert_eq!(
        t.job(held.id).await.progress,
        Some(half),
        "no news leaves the last word"
    );
    let most = Progress {
        done: u64::MAX >> 1,
        total: None,
        note: None,
    };
    t.report(&held, most.clone()).await;
    assert_eq!(
        t.job(held.id).await.progress,
        Some(most),
        "news replace all of it"
    );
}

pub(super) async fn progress_stays_with_what_came_of_it(t: &Bundle) {
    let held = t.running(|_| {}).await;
    t.report(&held, Progress::of(3, 4)).await;
    t.crash(&held).await;
    let progress = Some(Progress::of(3, 4));
    let job = t.job(held.id).await;
    assert_eq!(
        job.history[0].end,
        AttemptEnd::Crashed { progress },
        "how far it got is known"
    );
}

pub(super) async fn the_wish_to_end_comes_with_the_answer(t: &Bundle) {
    let held = t.running(|_| {}).await;
    assert_eq!(
        t.operate(held.id, Operation::Cancel).await,
        Operated::Done(State::Running)
    );
    for _ in 0..2 {
        let answer = t.renew_one(held.id, held.token).await;
        assert_eq!(
            answer,
            Renewed::Renewed { cancel: true },
            "at every renewal"
        );
    }
}

pub(super) async fn an_expired_lease_can_be_renewed(t: &Bundle) {
    let held = t.running(|_| {}).await;
    t.advance(secs(3600)).await;
    assert_eq!(
        t.renew_one(held.id, held.token).await,
        GOES_ON,
        "nobody revoked it"
    );
    assert!(t.sweep().await.is_empty(), "and by then nobody may");
}

pub(super) async fn a_revoked_job_is_lost(t: &Bundle) {
    let held = t.running(|_| {}).await;
    t.crash(&held).await;
    let stored = t.job(held.id).await;
    assert_eq!(t.renew_one(held.id, held.token).await, Renewed::Lost);
    assert_eq!(t.job(held.id).await, stored);
}

pub(super) async fn a_wrong_token_is_lost(t: &Bundle) {
    let held = t.running(|_| {}).await;
    let stored = t.job(held.id).await;
    let renewal = Renewal::new(held.id, Token::random()).progress(Progress::of(1, 2));
    assert_eq!(t.renew(&[renewal]).await, [Renewed::Lost]);
    assert_eq!(
        t.job(held.id).await,
        stored,
        "neither lease nor progress moved"
    );
}

pub(super) async fn what_is_not_running_is_lost(t: &Bundle) {
    let waiting = t.add(|_| {}).await;
    assert_eq!(t.renew_one(waiting, Token::random()).await, Renewed::Lost);
    assert_eq!(
        t.renew_one(JobId::new(), Token::random()).await,
        Renewed::Lost,
        "unknown"
    );
    for to in To::ALL {
        let over = t.ended(to, |_| {}).await;
        assert_eq!(
            t.renew_one(over, Token::random()).await,
            Renewed::Lost,
            "{to:?}"
        );
    }
    let held = t.running(|_| {}).await;
    t.finish(&held, success()).await;
    assert_eq!(
        t.renew_one(held.id, held.token).await,
        Renewed::Lost,
        "ended by its holder"
    );
}

pub(super) async fn a_batch_answers_in_order(t: &Bundle) {
    let [a, b, c] = [
        t.running(|_| {}).await,
        t.running(|_| {}).await,
        t.running(|_| {}).await,
    ];
    t.operate(c.id, Operation::Cancel).await;
    let batch = [
        Renewal::new(c.id, c.token),
        Renewal::new(JobId::new(), a.token),
        Renewal::new(a.id, a.token),
        Renewal::new(b.id, a.token),
        Renewal::new(a.id, a.token),
    ];
    let expected = [
        Renewed::Renewed { cancel: true },
        Renewed::Lost,
        GOES_ON,
        Renewed::Lost,
        GOES_ON,
    ];
    assert_eq!(t.renew(&batch).await, expected);
}

pub(super) async fn an_empty_batch_is_no_error(t: &Bundle) {
    assert!(t.renew(&[]).await.is_empty());
}
