//! `claim_ready`: it claims the due jobs in the right order, and no others.

use std::{sync::Arc, time::Duration};

use bgjob::{
    Priority, Timestamp,
    job::{Due, End, State, transition::Operation},
    store::{Ending, Finished},
};

use super::bundle::{
    Bundle, NAME, OTHER_NAME, OTHER_QUEUE, QUEUE, To, VERSION, claimed_ids, due, error_after, ids,
    new, plain, secs, serves, serving, success, want,
};

pub(super) async fn what_is_ready_is_claimed(t: &Bundle) {
    let id = t.add(|_| {}).await;
    let grant = t.grant();
    let got = t.ready_by(&[want(QUEUE, 10)], &grant, &serves()).await.jobs;
    assert_eq!(claimed_ids(&got), [id]);
    assert_eq!((got[0].token, got[0].fence), (grant.token, 1));
    assert_eq!(t.state(id).await, State::Running);
    assert!(t.ready(10).await.is_empty(), "once");
}

pub(super) async fn the_most_urgent_goes_first(t: &Bundle) {
    let order = [
        Priority::Normal,
        Priority::Critical,
        Priority::Low,
        Priority::High,
    ];
    let jobs = order.map(|priority| new(|spec| spec.priority = priority));
    t.add_all(&jobs).await;
    let expected = [&jobs[1], &jobs[3], &jobs[0], &jobs[2]].map(|job| job.id);
    assert_eq!(claimed_ids(&t.ready(10).await), expected);
}

pub(super) async fn then_the_one_that_is_due_longest(t: &Bundle) {
    let now = t.now().await.as_millis();
    let at = |ago: i64| due(Due::At(Timestamp::from_millis(now - ago)), |_| {});
    let jobs = [at(20), at(50), at(10), at(40), at(30)];
    t.add_all(&jobs).await;
    let expected = [1, 3, 4, 0, 2].map(|nth: usize| jobs[nth].id);
    assert_eq!(claimed_ids(&t.ready(10).await), expected);
}

pub(super) async fn priority_counts_more_than_age(t: &Bundle) {
    let old = t.add(|_| {}).await;
    t.advance(secs(3600)).await;
    let urgent = t.add(|spec| spec.priority = Priority::High).await;
    assert_eq!(claimed_ids(&t.ready(1).await), [urgent]);
    assert_eq!(claimed_ids(&t.ready(1).await), [old]);
}

pub(super) async fn the_order_holds_across_names_and_versions(t: &Bundle) {
    let now = t.now().await.as_millis();
    let job = |ago: i64, name: &str, version| {
        let time = Timestamp::from_millis(now - ago);
        due(Due::At(time), |spec| {
            (spec.name, spec.version) = (name.into(), version);
        })
    };
    let jobs = [
        job(50, NAME, 1),
        job(40, OTHER_NAME, 1),
        job(30, NAME, 0),
        job(20, OTHER_NAME, 0),
        job(10, NAME, 1),
    ];
    let mut shuffled = jobs.to_vec();
    shuffled.rotate_left(2);
    shuffled.swap(0, 3);
    t.add_all(&shuffled).await;
    let first = claimed_ids(&t.ready(3).await);
    assert_eq!(first, ids(&jobs[..3]));
    assert_eq!(claimed_ids(&t.ready(3).await), ids(&jobs[3..]));
}

pub(super) async fn a_delayed_job_takes_its_place_when_it_is_due(t: &Bundle) {
    let later = t.add_due(Due::After(secs(10)), |_| {}).await;
    let urgent = t
        .add_due(Due::After(secs(20)), |spec| spec.priority = Priority::High)
        .await;
    assert!(t.ready(10).await.is_empty(), "never early");
    t.advance(secs(25)).await;
    let fresh = t.add(|_| {}).await;
    assert_eq!(claimed_ids(&t.ready(10).await), [urgent, later, fresh]);
}

pub(super) async fn a_retry_comes_back_at_its_time(t: &Bundle) {
    let held = t.running(|_| {}).await;
    t.finish(&held, error_after(secs(60))).await;
    t.advance(secs(55)).await;
    assert!(t.ready(10).await.is_empty());
    t.advance(secs(5)).await;
    assert_eq!(claimed_ids(&t.ready(10).await), [held.id]);
}

pub(super) async fn a_released_job_keeps_its_place(t: &Bundle) {
    let held = t.running(|_| {}).await;
    t.advance(secs(5)).await;
    let second = t.add(|_| {}).await;
    t.finish(&held, End::Release).await;
    assert_eq!(claimed_ids(&t.ready(10).await), [held.id, second]);
}

pub(super) async fn at_most_max_of_each_queue(t: &Bundle) {
    t.add_all(&plain(5)).await;
    let other: Vec<_> = (0..5)
        .map(|_| new(|spec| spec.queue = OTHER_QUEUE.into()))
        .collect();
    t.add_all(&other).await;
    let wants = [want(QUEUE, 2), want(OTHER_QUEUE, 3)];
    let got = t.ready_by(&wants, &t.grant(), &serves()).await.jobs;
    let of = |queue: &str| got.iter().filter(|job| &*job.spec.queue == queue).count();
    assert_eq!((of(QUEUE), of(OTHER_QUEUE), got.len()), (2, 3, 5));
}

pub(super) async fn only_of_the_wanted_queues(t: &Bundle) {
    let id = t.add(|spec| spec.queue = OTHER_QUEUE.into()).await;
    assert!(t.ready(10).await.is_empty());
    assert_eq!(t.state(id).await, State::Ready);
    let unknown = t
        .ready_by(&[want("unheard-of", 5)], &t.grant(), &serves())
        .await;
    assert!(
        unknown.jobs.is_empty(),
        "an unknown queue is empty, not an error"
    );
}

pub(super) async fn none_are_claimed_where_none_are_wanted(t: &Bundle) {
    t.add(|_| {}).await;
    assert!(t.ready(0).await.is_empty());
    assert!(t.ready_by(&[], &t.grant(), &serves()).await.jobs.is_empty());
    assert_eq!(t.counts(QUEUE).await, [(State::Ready, 1)]);
}

pub(super) async fn who_runs_or_is_over_is_not_claimed(t: &Bundle) {
    t.running(|_| {}).await;
    for to in To::ALL {
        t.ended(to, |_| {}).await;
    }
    assert!(t.ready(10).await.is_empty());
}

pub(super) async fn the_unserved_are_passed_over(t: &Bundle) {
    let strange: Vec<_> = (0..50)
        .map(|_| new(|spec| spec.name = "strange".into()))
        .collect();
    let newer: Vec<_> = (0..50)
        .map(|_| new(|spec| spec.version = VERSION + 1))
        .collect();
    t.add_all(&strange).await;
    t.add_all(&newer).await;
    let known = t.add(|_| {}).await;
    assert_eq!(
        claimed_ids(&t.ready(10).await),
        [known],
        "they block nobody"
    );
    let strange_only = serving(&[("strange", 0)], false);
    let got = t
        .ready_by(&[want(QUEUE, 5)], &t.grant(), &strange_only)
        .await
        .jobs;
    assert!(
        got.is_empty(),
        "their version is {VERSION}, more than this worker reads"
    );
    let strange_only = serving(&[("strange", VERSION)], false);
    let got = t
        .ready_by(&[want(QUEUE, 5)], &t.grant(), &strange_only)
        .await
        .jobs;
    assert_eq!(
        claimed_ids(&got),
        ids(&strange[..5]),
        "who knows them gets them"
    );
}

pub(super) async fn an_edited_version_finds_its_worker(t: &Bundle) {
    let id = t.add(|spec| spec.version = VERSION + 1).await;
    assert!(t.ready(10).await.is_empty());
    let edit = Operation::Edit {
        metadata: bgjob::Json::trusted("1"),
        version: VERSION,
        ver: 0,
    };
    t.operate(id, edit).await;
    assert_eq!(claimed_ids(&t.ready(10).await), [id]);
}

pub(super) async fn the_too_late_are_passed_over(t: &Bundle) {
    let late: Vec<_> = (0..20)
        .map(|_| new(|spec| spec.expires = Some(secs(10))))
        .collect();
    t.add_all(&late).await;
    t.add(|spec| spec.deadline = Some(secs(10))).await;
    t.advance(secs(10)).await;
    let id = t.add(|_| {}).await;
    assert_eq!(
        claimed_ids(&t.ready(5).await),
        [id],
        "they are the sweeper's, and block nobody"
    );
    assert!(t.ready(5).await.is_empty());
    assert_eq!(t.sweep().await.len(), 21);
}

pub(super) async fn a_rescheduled_job_moves(t: &Bundle) {
    let [now, later] = [
        t.add(|_| {}).await,
        t.add_due(Due::After(secs(60)), |_| {}).await,
    ];
    t.operate(now, Operation::Reschedule(Due::After(secs(60))))
        .await;
    t.operate(later, Operation::Reschedule(Due::Now)).await;
    assert_eq!(claimed_ids(&t.ready(10).await), [later]);
    t.advance(secs(61)).await;
    assert_eq!(claimed_ids(&t.ready(10).await), [now]);
}

pub(super) async fn a_cancelled_job_is_gone_from_the_row(t: &Bundle) {
    let jobs = plain(3);
    t.add_all(&jobs).await;
    t.operate(jobs[1].id, Operation::Cancel).await;
    assert_eq!(claimed_ids(&t.ready(10).await), [jobs[0].id, jobs[2].id]);
}

pub(super) async fn a_claim_by_id_takes_it_out_of_the_row(t: &Bundle) {
    let jobs = plain(3);
    t.add_all(&jobs).await;
    t.claim(jobs[1].id).await;
    assert_eq!(claimed_ids(&t.ready(10).await), [jobs[0].id, jobs[2].id]);
}

pub(super) async fn a_requeued_job_comes_back(t: &Bundle) {
    for to in To::ALL {
        let id = t.ended(to, |_| {}).await;
        t.operate(id, Operation::Requeue(Due::Now)).await;
        let got = t.ready(10).await;
        assert_eq!(claimed_ids(&got), [id]);
        assert_eq!(got[0].epoch, 1, "{to:?}");
    }
}

pub(super) async fn page_by_page_each_job_comes_once(t: &Bundle) {
    let jobs: Vec<_> = (0..500_usize)
        .map(|n| new(|spec| spec.priority = Priority::ALL[n % Priority::ALL.len()]))
        .collect();
    t.add_all(&jobs).await;
    let mut got = Vec::new();
    for _ in 0..6 {
        got.extend(claimed_ids(&t.ready(90).await));
    }
    let unique: std::collections::BTreeSet<_> = got.iter().collect();
    assert_eq!((got.len(), unique.len()), (500, 500));
}

pub(super) async fn a_repeat_answers_first_what_is_held(t: &Bundle) {
    let jobs = plain(5);
    t.add_all(&jobs).await;
    let grant = t.grant();
    let first = t.ready_by(&[want(QUEUE, 2)], &grant, &serves()).await.jobs;
    let repeat = grant.repeat(true);
    let again = t.ready_by(&[want(QUEUE, 2)], &repeat, &serves()).await.jobs;
    let sorted = |jobs: &[bgjob::job::ClaimedJob]| {
        let mut ids = claimed_ids(jobs);
        ids.sort();
        ids
    };
    assert_eq!(
        sorted(&again),
        sorted(&first),
        "the answer was lost: here it is again"
    );
    assert!(
        again
            .iter()
            .all(|job| job.fence == 1 && job.token == grant.token)
    );
    let more = t.ready_by(&[want(QUEUE, 4)], &repeat, &serves()).await.jobs;
    assert_eq!(more.len(), 4, "what is held counts towards what is wanted");
    assert!(
        claimed_ids(&first)
            .iter()
            .all(|id| claimed_ids(&more).contains(id))
    );
}

pub(super) async fn a_repeat_leaves_out_what_has_left(t: &Bundle) {
    let jobs = plain(3);
    t.add_all(&jobs).await;
    let grant = t.grant();
    let first = t.ready_by(&[want(QUEUE, 3)], &grant, &serves()).await.jobs;
    t.finish(&first[0], success()).await;
    t.finish(&first[1], error_after(secs(60))).await;
    let repeat = grant.repeat(true);
    let again = t.ready_by(&[want(QUEUE, 3)], &repeat, &serves()).await.jobs;
    assert_eq!(claimed_ids(&again), [first[2].id]);
}

pub(super) async fn a_repeat_that_never_arrived_is_a_claim(t: &Bundle) {
    let id = t.add(|_| {}).await;
    let repeat = t.grant().repeat(true);
    let got = t.ready_by(&[want(QUEUE, 3)], &repeat, &serves()).await.jobs;
    assert_eq!(claimed_ids(&got), [id]);
}

pub(super) async fn without_repeat_a_token_takes_more(t: &Bundle) {
    let jobs = plain(4);
    t.add_all(&jobs).await;
    let grant = t.grant();
    for pair in jobs.chunks(2) {
        let got = t.ready_by(&[want(QUEUE, 2)], &grant, &serves()).await.jobs;
        assert_eq!(
            claimed_ids(&got),
            ids(pair),
            "held jobs are not answered unasked"
        );
    }
}

pub(super) async fn finish_and_claim_does_both(t: &Bundle) {
    let jobs = plain(3);
    t.add_all(&jobs).await;
    let held = t.claim(jobs[0].id).await;
    let ends = [
        Ending::new(held.id, held.token, success()),
        Ending::new(jobs[1].id, held.token, success()),
    ];
    let wants = [want(QUEUE, 10)];
    let both = t
        .store
        .finish_and_claim(&ends, &wants, &t.grant(), &serves())
        .await;
    let (finished, claimed) = both.expect("finish_and_claim answers");
    assert_eq!(
        finished,
        [Finished::Applied(State::Succeeded), Finished::Lost]
    );
    assert_eq!(claimed_ids(&claimed.jobs), ids(&jobs[1..]));
    assert_eq!(t.state(held.id).await, State::Succeeded);
}

pub(super) async fn finish_and_claim_without_ends_claims(t: &Bundle) {
    let id = t.add(|_| {}).await;
    let wants = [want(QUEUE, 10)];
    let both = t
        .store
        .finish_and_claim(&[], &wants, &t.grant(), &serves())
        .await;
    let (finished, claimed) = both.expect("finish_and_claim answers");
    assert!(finished.is_empty());
    assert_eq!(claimed_ids(&claimed.jobs), [id]);
}

pub(super) async fn finish_and_claim_may_take_what_it_gave_back(t: &Bundle) {
    let held = t.running(|_| {}).await;
    let end = End::Snooze(Duration::ZERO);
    let ends = [Ending::new(held.id, held.token, end)];
    let wants = [want(QUEUE, 10)];
    let both = t
        .store
        .finish_and_claim(&ends, &wants, &t.grant(), &serves())
        .await;
    let (_, claimed) = both.expect("finish_and_claim answers");
    assert_eq!(
        claimed_ids(&claimed.jobs),
        [held.id],
        "first the ends, then the claim"
    );
    assert!(claimed.jobs[0].fence > held.fence);
}

pub(super) async fn queues_with_like_names_are_apart(t: &Bundle) {
    let names = ["a", "a.b", "a_b", "a-b", "ab", "a0"];
    for name in names {
        t.add(|spec| spec.queue = name.into()).await;
    }
    for name in names {
        let got = t
            .ready_by(&[want(name, 10)], &t.grant(), &serves())
            .await
            .jobs;
        assert_eq!(got.len(), 1, "{name}");
        assert_eq!(got[0].spec.queue, Arc::from(name));
    }
}
