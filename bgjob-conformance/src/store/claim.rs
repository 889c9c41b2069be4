//! T2 by id: who gets a job, and which answer a refused claim gets.

use std::time::Duration;

use bgjob::{
    JobId,
    job::{
        Due, End, Phase, State,
        transition::{Operated, Operation},
    },
    store::Claim,
};

use super::bundle::{
    Bundle, NAME, OTHER_NAME, To, VERSION, between, claimed, error_after, fragile, ids, new, plain,
    secs, serves, serving,
};

pub(super) async fn a_claim_hands_the_job_out(t: &Bundle) {
    let job = new(|spec| {
        spec.headers = [("trace".into(), "1".into())].into();
        spec.tags = vec!["big".into()];
        spec.deadline = Some(secs(600));
    });
    t.add_all(std::slice::from_ref(&job)).await;
    let grant = t.grant();
    let before = t.now().await;
    let held = t.claim_with(job.id, &grant).await;
    let after = t.now().await;
    let stored = t.job(job.id).await;
    assert_eq!(
        (held.id, &held.spec),
        (job.id, &job.spec),
        "running it needs all of its spec"
    );
    assert_eq!((held.token, held.fence, held.epoch), (grant.token, 1, 0));
    assert_eq!((held.errors, held.crashes), (0, 0));
    assert_eq!(
        (held.created_at, held.due_at),
        (stored.created_at, stored.due_at)
    );
    assert_eq!(held.deadline_at, stored.deadline_at);
    between(held.claimed_at, before, after);
}

pub(super) async fn a_claimed_job_is_running(t: &Bundle) {
    let id = t.add(|_| {}).await;
    let grant = t.grant();
    let held = t.claim_with(id, &grant).await;
    let Phase::Running(hold) = t.job(id).await.phase else {
        panic!("a claimed job is Running");
    };
    assert_eq!((hold.token, hold.owner), (grant.token, grant.owner));
    assert_eq!(hold.since, held.claimed_at);
    assert_eq!(hold.lease_until, held.claimed_at + grant.lease);
    assert!(!hold.cancel);
}

pub(super) async fn a_running_job_is_busy(t: &Bundle) {
    let held = t.running(|_| {}).await;
    let before = t.job(held.id).await;
    assert!(
        matches!(t.try_claim(held.id).await, Claim::Busy),
        "one holder at a time"
    );
    assert_eq!(t.job(held.id).await, before, "a refusal changes nothing");
}

pub(super) async fn an_expired_lease_is_busy_until_it_is_revoked(t: &Bundle) {
    let held = t.running(|_| {}).await;
    t.advance(secs(3600)).await;
    assert!(
        matches!(t.try_claim(held.id).await, Claim::Busy),
        "only the sweeper takes a job from its holder, and counts the crash"
    );
}

pub(super) async fn a_job_is_never_early(t: &Bundle) {
    let id = t.add_due(Due::After(secs(60)), |_| {}).await;
    let before = t.job(id).await;
    assert!(matches!(t.try_claim(id).await, Claim::NotDue));
    t.advance(secs(55)).await;
    assert!(
        matches!(t.try_claim(id).await, Claim::NotDue),
        "55 of 60 seconds are over"
    );
    assert_eq!(t.job(id).await, before, "a refusal changes nothing");
    t.advance(secs(5)).await;
    t.claim(id).await;
}

pub(super) async fn an_unknown_job_is_missing(t: &Bundle) {
    assert!(matches!(t.try_claim(JobId::new()).await, Claim::Missing));
}

pub(super) async fn what_is_over_is_terminal(t: &Bundle) {
    for to in To::ALL {
        let id = t.ended(to, |_| {}).await;
        let before = t.job(id).await;
        assert!(matches!(t.try_claim(id).await, Claim::Terminal), "{to:?}");
        assert_eq!(t.job(id).await, before, "no start after the end");
    }
}

pub(super) async fn an_unknown_name_is_not_served(t: &Bundle) {
    let id = t.add(|spec| spec.name = "from_tomorrow".into()).await;
    let before = t.job(id).await;
    assert!(matches!(t.try_claim(id).await, Claim::NotServed));
    assert_eq!(
        t.job(id).await,
        before,
        "waiting for a worker that knows it costs nothing"
    );
}

pub(super) async fn a_newer_version_is_not_served(t: &Bundle) {
    let id = t.add(|spec| spec.version = VERSION + 1).await;
    assert!(matches!(t.try_claim(id).await, Claim::NotServed));
    let newer = serving(&[(NAME, VERSION + 1)], true);
    let held = t.claim_by(&[id], &t.grant(), &newer).await.remove(0);
    assert_eq!(
        claimed(held).spec.version,
        VERSION + 1,
        "a newer worker gets it"
    );
}

pub(super) async fn an_older_version_is_served(t: &Bundle) {
    let id = t.add(|spec| spec.version = 0).await;
    assert_eq!(
        t.claim(id).await.spec.version,
        0,
        "and it says which version it is"
    );
}

pub(super) async fn an_alias_is_a_name_like_others(t: &Bundle) {
    let id = t.add(|spec| spec.name = "old_name".into()).await;
    let with_alias = serving(&[(NAME, VERSION), ("old_name", VERSION)], true);
    let held = t.claim_by(&[id], &t.grant(), &with_alias).await.remove(0);
    assert_eq!(
        &*claimed(held).spec.name,
        "old_name",
        "the stored name comes back"
    );
}

pub(super) async fn names_are_compared_whole(t: &Bundle) {
    let id = t.add(|spec| spec.name = "Resize".into()).await;
    assert!(
        matches!(t.try_claim(id).await, Claim::NotServed),
        "case matters"
    );
    let id = t.add(|spec| spec.name = "resize.all".into()).await;
    assert!(
        matches!(t.try_claim(id).await, Claim::NotServed),
        "a prefix is another name"
    );
}

pub(super) async fn nothing_is_served_by_who_serves_nothing(t: &Bundle) {
    let id = t.add(|_| {}).await;
    let answer = t
        .claim_by(&[id], &t.grant(), &serving(&[], true))
        .await
        .remove(0);
    assert!(matches!(answer, Claim::NotServed));
}

pub(super) async fn each_grant_has_a_greater_fence(t: &Bundle) {
    let id = t.add(|_| {}).await;
    let mut last = 0;
    for round in 0..6 {
        let held = t.claim(id).await;
        assert!(
            held.fence > last,
            "the fence grows with each grant (round {round})"
        );
        last = held.fence;
        match round {
            0 => _ = t.finish(&held, End::Release).await,
            1 => _ = t.finish(&held, End::Snooze(Duration::ZERO)).await,
            2 => _ = t.finish(&held, error_after(Duration::ZERO)).await,
            3 => {
                t.crash(&held).await;
                t.advance(secs(5)).await;
            }
            _ => {
                t.finish(&held, super::bundle::success()).await;
                let again = t.operate(id, Operation::Requeue(Due::Now)).await;
                assert_eq!(again, Operated::Done(State::Ready));
            }
        }
    }
}

pub(super) async fn what_is_past_expires_is_not_claimed(t: &Bundle) {
    let id = t.add(|spec| spec.expires = Some(secs(10))).await;
    let in_time = t.add(|spec| spec.expires = Some(secs(10))).await;
    t.advance(secs(5)).await;
    t.claim(in_time).await;
    t.advance(secs(5)).await;
    assert!(
        matches!(t.try_claim(id).await, Claim::NotDue),
        "it is the sweeper's to end"
    );
    assert_eq!(t.state(id).await, State::Ready);
}

pub(super) async fn what_is_past_its_deadline_is_not_claimed(t: &Bundle) {
    let id = t.add(|spec| spec.deadline = Some(secs(10))).await;
    t.advance(secs(10)).await;
    assert!(
        matches!(t.try_claim(id).await, Claim::NotDue),
        "it would be stopped at once"
    );
}

pub(super) async fn a_retry_is_claimed_after_expires(t: &Bundle) {
    let held = t.running(|spec| spec.expires = Some(secs(10))).await;
    t.finish(&held, error_after(secs(60))).await;
    t.advance(secs(61)).await;
    let held = t.claim(held.id).await;
    assert_eq!(
        held.errors, 1,
        "`expires` is about the first start only; errors are handed out"
    );
}

pub(super) async fn a_suspect_is_claimed_only_where_it_is_wanted(t: &Bundle) {
    let id = t.suspect(|_| {}).await;
    let unwanted = serving(&[(NAME, VERSION)], false);
    let answer = t.claim_by(&[id], &t.grant(), &unwanted).await.remove(0);
    assert!(matches!(answer, Claim::NotServed), "never prefetched");
    assert_eq!(
        t.claim(id).await.crashes,
        1,
        "its holder learns that it is one"
    );
}

pub(super) async fn one_of_three_crashes_makes_no_suspect(t: &Bundle) {
    let jobs = plain(2);
    t.add_all(&jobs).await;
    let unwanted = serving(&[(NAME, VERSION)], false);
    for crashes in 0..2 {
        let answers = t.claim_by(&ids(&jobs), &t.grant(), &unwanted).await;
        let held: Vec<_> = answers.into_iter().map(claimed).collect();
        assert!(held.iter().all(|job| job.crashes == crashes));
        t.crash(&held[0]).await;
        t.advance(secs(61)).await;
    }
    let answers = t.claim_by(&ids(&jobs), &t.grant(), &unwanted).await;
    let refused = |answer: &Claim| matches!(answer, Claim::NotServed);
    assert!(answers.iter().all(refused), "two do: {answers:?}");
}

pub(super) async fn a_call_claims_one_suspect_at_most(t: &Bundle) {
    let jobs = fragile(3);
    t.add_all(&jobs).await;
    let held = t.claim_by(&ids(&jobs), &t.grant(), &serves()).await;
    let held: Vec<_> = held.into_iter().map(claimed).collect();
    t.crash(&held[0]).await;
    t.advance(secs(6)).await;
    let innocent = t.add(|_| {}).await;
    let asked = [ids(&jobs), vec![innocent]].concat();
    let answers = t.claim_by(&asked, &t.grant(), &serves()).await;
    assert!(
        matches!(answers[0], Claim::Claimed(_)),
        "the first suspect is claimed"
    );
    assert!(
        matches!(answers[1], Claim::NotServed),
        "a second one is not"
    );
    assert!(matches!(answers[2], Claim::NotServed), "nor a third");
    assert!(
        matches!(answers[3], Claim::Claimed(_)),
        "who never crashed is"
    );
}

pub(super) async fn answers_come_in_the_order_of_the_input(t: &Bundle) {
    let over = t.ended(To::Success, |_| {}).await;
    let later = t.add_due(Due::After(secs(60)), |_| {}).await;
    let busy = t.running(|_| {}).await.id;
    let unserved = t.add(|spec| spec.name = "unheard_of".into()).await;
    let [free, other] = [
        t.add(|_| {}).await,
        t.add(|spec| spec.name = OTHER_NAME.into()).await,
    ];
    let asked = [over, other, later, busy, JobId::new(), free, unserved];
    let answers = t.claim_by(&asked, &t.grant(), &serves()).await;
    let word = |answer: &Claim| match answer {
        Claim::Claimed(job) => format!("claimed {}", job.id),
        refused => format!("{refused:?}"),
    };
    let (free, other) = (format!("claimed {free}"), format!("claimed {other}"));
    let expected = [
        "Terminal",
        &other,
        "NotDue",
        "Busy",
        "Missing",
        &free,
        "NotServed",
    ]
    .map(str::to_owned);
    assert_eq!(answers.iter().map(word).collect::<Vec<_>>(), expected);
}

pub(super) async fn an_empty_batch_is_no_error(t: &Bundle) {
    assert!(t.claim_by(&[], &t.grant(), &serves()).await.is_empty());
}

pub(super) async fn a_thousand_jobs_fit_one_batch(t: &Bundle) {
    let jobs = plain(1000);
    t.add_all(&jobs).await;
    let answers = t.claim_by(&ids(&jobs), &t.grant(), &serves()).await;
    for (job, answer) in jobs.iter().zip(answers) {
        assert_eq!(claimed(answer).id, job.id);
    }
}
