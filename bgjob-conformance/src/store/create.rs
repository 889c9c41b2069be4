//! T1: a job is stored once, and as it was given.

use std::time::Duration;

use bgjob::{
    Backoff, JobSpec, Json, Priority, Timestamp,
    job::{Due, NewJob, State, StoredBackoff, transition::Operation},
    store::Created,
};

use super::bundle::{
    Bundle, DAY, NAME, QUEUE, To, between, due, ids, new, other_named, plain, secs, spec,
};

pub(super) async fn a_job_is_stored_as_it_was_given(t: &Bundle) {
    let job = new(|spec| {
        spec.version = 3;
        spec.priority = Priority::Critical;
        spec.headers = [
            ("traceparent".into(), "00-1".into()),
            ("a".into(), String::new()),
        ]
        .into();
        spec.tags = vec!["b".into(), "a".into(), "b".into()];
        spec.unique_key = None;
        (spec.max_attempts, spec.max_crashes) = (1000, 1);
        (spec.expires, spec.deadline) = (Some(secs(60)), Some(secs(120)));
        spec.retain = secs(1);
        spec.timeout = Some(Duration::new(7, 1));
        let backoff = Backoff::linear(secs(1), secs(9)).without_jitter();
        spec.backoff = StoredBackoff::try_from(backoff).ok();
    });
    let before = t.now().await;
    t.add_all(std::slice::from_ref(&job)).await;
    let after = t.now().await;
    let stored = t.job(job.id).await;
    assert_eq!(stored.spec, job.spec, "the spec comes back as it was given");
    assert_eq!(stored.id, job.id);
    assert_eq!(stored.state(), State::Ready);
    between(stored.created_at, before, after);
    assert_eq!(
        stored.due_at, stored.created_at,
        "what is due at once is due when it is stored"
    );
    let counters = (
        stored.ver,
        stored.fence,
        stored.epoch,
        stored.errors,
        stored.crashes,
    );
    assert_eq!(counters, (0, 0, 0, 0, 0), "all counters start at zero");
    assert_eq!((stored.progress, stored.history), (None, Vec::new()));
}

pub(super) async fn every_priority_comes_back(t: &Bundle) {
    for priority in Priority::ALL {
        let id = t.add(|spec| spec.priority = priority).await;
        assert_eq!(t.job(id).await.spec.priority, priority);
    }
}

pub(super) async fn a_delay_counts_from_when_it_is_stored(t: &Bundle) {
    let before = t.now().await;
    let id = t.add_due(Due::After(secs(60)), |_| {}).await;
    let after = t.now().await;
    between(t.job(id).await.due_at, before + secs(60), after + secs(60));
    assert_eq!(t.state(id).await, State::Ready, "a delayed job is Ready");
}

pub(super) async fn a_given_time_is_kept_to_the_millisecond(t: &Bundle) {
    let at = Timestamp::from_millis(t.now().await.as_millis() + 123_457);
    let id = t.add_due(Due::At(at), |_| {}).await;
    assert_eq!(t.job(id).await.due_at, at);
}

pub(super) async fn a_time_that_has_passed_is_due_at_once(t: &Bundle) {
    let past = Timestamp::from_millis(t.now().await.as_millis() - 5000);
    let id = t.add_due(Due::At(past), |_| {}).await;
    assert_eq!(
        t.job(id).await.due_at,
        past,
        "how long it has been due is not forgotten"
    );
    t.claim(id).await;
}

pub(super) async fn expires_and_deadline_count_from_due(t: &Bundle) {
    let limits = |spec: &mut JobSpec| {
        (spec.expires, spec.deadline) = (Some(secs(10)), Some(secs(20)));
    };
    let job = t.job(t.add_due(Due::After(secs(60)), limits).await).await;
    assert_eq!(job.expires_at, Some(job.due_at + secs(10)));
    assert_eq!(job.deadline_at, Some(job.due_at + secs(20)));
    let without = t.job(t.add(|_| {}).await).await;
    assert_eq!((without.expires_at, without.deadline_at), (None, None));
}

pub(super) async fn a_repeat_answers_exists(t: &Bundle) {
    let job = due(Due::After(secs(60)), |_| {});
    t.add_all(std::slice::from_ref(&job)).await;
    let stored = t.job(job.id).await;
    t.advance(secs(1)).await;
    assert_eq!(
        t.create(&[job]).await,
        [Created::Exists],
        "a repeat is a success"
    );
    assert_eq!(t.job(stored.id).await, stored, "a repeat changes nothing");
}

pub(super) async fn a_repeat_is_known_by_its_id_and_name(t: &Bundle) {
    let job = new(|_| {});
    t.add_all(std::slice::from_ref(&job)).await;
    let spec = spec(|spec| {
        spec.priority = Priority::High;
        // A map has no order, and a type may get new fields.
        spec.metadata = Json::trusted(r#"{"picture":8}"#);
        spec.version = 1;
    });
    let repeat = NewJob::new(job.id, spec, Due::After(secs(60)));
    assert_eq!(
        t.create(&[repeat]).await,
        [Created::Exists],
        "whatever else is said anew"
    );
    assert_eq!(
        t.job(job.id).await.spec,
        job.spec,
        "what was stored first stays"
    );
}

pub(super) async fn a_repeat_while_it_runs_answers_exists(t: &Bundle) {
    let job = new(|_| {});
    t.add_all(std::slice::from_ref(&job)).await;
    t.claim(job.id).await;
    let running = t.job(job.id).await;
    assert_eq!(
        t.create(std::slice::from_ref(&job)).await,
        [Created::Exists]
    );
    assert_eq!(
        t.job(job.id).await,
        running,
        "a repeat does not touch a running job"
    );
}

pub(super) async fn a_repeat_after_the_end_starts_nothing(t: &Bundle) {
    for to in To::ALL {
        let job = new(|_| {});
        t.add_all(std::slice::from_ref(&job)).await;
        t.end(job.id, to).await;
        let ended = t.job(job.id).await;
        assert_eq!(
            t.create(std::slice::from_ref(&job)).await,
            [Created::Exists],
            "{to:?}"
        );
        assert_eq!(
            t.job(job.id).await,
            ended,
            "a repeat never starts a job again ({to:?})"
        );
    }
}

pub(super) async fn a_repeat_under_a_new_name_answers_exists(t: &Bundle) {
    let first = new(|_| {});
    t.add_all(std::slice::from_ref(&first)).await;
    let renamed = |aliases| other_named(first.id).aliases(aliases);
    let known = renamed(&["older", NAME]);
    let answers = t.create(&[known.clone(), renamed(&["older"])]).await;
    assert_eq!(
        answers,
        [Created::Exists, Created::IdTaken(NAME.into())],
        "only a name the function had is its own"
    );
    assert_eq!(
        t.job(first.id).await.spec,
        first.spec,
        "the first one stays"
    );
    t.claim(first.id).await;
    let answers = t.create(&[known]).await;
    assert_eq!(answers, [Created::Exists], "while it runs, too");
}

pub(super) async fn an_id_with_another_name_is_taken(t: &Bundle) {
    let first = new(|_| {});
    t.add_all(std::slice::from_ref(&first)).await;
    assert_eq!(
        t.create(&[other_named(first.id)]).await,
        [Created::IdTaken(NAME.into())],
        "another job may not hide behind it; the answer names the one that is there"
    );
}

pub(super) async fn a_repeat_after_an_edit_answers_exists(t: &Bundle) {
    let job = new(|_| {});
    t.add_all(std::slice::from_ref(&job)).await;
    let edit = Operation::Edit {
        metadata: Json::trusted("1"),
        version: 1,
        ver: 0,
    };
    t.operate(job.id, edit).await;
    assert_eq!(
        t.create(std::slice::from_ref(&job)).await,
        [Created::Exists],
        "an operator's edit does not make the enqueuer's repeat another job"
    );
    assert_eq!(
        t.job(job.id).await.spec.metadata.as_str(),
        "1",
        "and the edit stays"
    );
}

pub(super) async fn answers_come_in_the_order_of_the_input(t: &Bundle) {
    let jobs = plain(4);
    t.add_all(&[jobs[2].clone(), jobs[0].clone()]).await;
    let answers = t.create(&jobs).await;
    use Created::{Created as New, Exists};
    assert_eq!(answers, [Exists, New, Exists, New]);
}

pub(super) async fn one_bad_element_hurts_no_neighbour(t: &Bundle) {
    let mut jobs = plain(5);
    t.add_all(std::slice::from_ref(&jobs[2])).await;
    jobs[2] = other_named(jobs[2].id);
    let answers = t.create(&jobs).await;
    assert_eq!(answers[2], Created::IdTaken(NAME.into()));
    for nth in [0, 1, 3, 4] {
        assert_eq!(answers[nth], Created::Created, "element {nth} is fine");
        assert_eq!(
            t.state(jobs[nth].id).await,
            State::Ready,
            "and it is stored"
        );
    }
}

pub(super) async fn the_same_job_twice_in_a_batch_is_stored_once(t: &Bundle) {
    let job = new(|_| {});
    let answers = t.create(&[job.clone(), job]).await;
    assert_eq!(answers, [Created::Created, Created::Exists]);
    assert_eq!(t.counts(QUEUE).await, [(State::Ready, 1)]);
}

pub(super) async fn two_jobs_of_one_id_in_a_batch_are_one_job(t: &Bundle) {
    let first = new(|_| {});
    let other = other_named(first.id);
    let answers = t.create(&[first.clone(), other]).await;
    assert_eq!(answers, [Created::Created, Created::IdTaken(NAME.into())]);
    assert_eq!(t.job(first.id).await.spec, first.spec);
}

pub(super) async fn an_empty_batch_is_no_error(t: &Bundle) {
    assert_eq!(t.create(&[]).await, []);
}

pub(super) async fn a_thousand_jobs_fit_one_batch(t: &Bundle) {
    let jobs = plain(bgjob::job::limits::BATCH);
    t.add_all(&jobs).await;
    let stored = t.store.get(&ids(&jobs)).await.expect("get answers");
    assert!(stored.iter().all(Option::is_some), "all of them are stored");
}

pub(super) async fn ids_of_ones_own_are_ids_like_others(t: &Bundle) {
    let id = bgjob::JobId::from_key("order 17");
    for id in [
        id,
        bgjob::JobId::from_bytes([0; 16]),
        bgjob::JobId::from_bytes([0xff; 16]),
    ] {
        let job = NewJob::new(id, spec(|_| {}), Due::Now);
        t.add_all(std::slice::from_ref(&job)).await;
        assert_eq!(t.claim(id).await.id, id);
        assert_eq!(t.job(id).await.id, id);
    }
}

pub(super) async fn a_far_future_job_waits(t: &Bundle) {
    let far = t
        .add_due(Due::At(Timestamp::MAX), |spec| spec.expires = Some(DAY))
        .await;
    let job = t.job(far).await;
    assert_eq!(job.due_at, Timestamp::MAX);
    assert_eq!(
        job.expires_at,
        Some(Timestamp::MAX),
        "times stop at the last one there is"
    );
    let long = t
        .add_due(Due::After(bgjob::job::limits::SPAN), |_| {})
        .await;
    let due_at = t.job(long).await.due_at;
    assert!(due_at + secs(5) >= t.now().await + bgjob::job::limits::SPAN);
    assert!(
        t.sweep().await.is_empty(),
        "neither is of any interest to the sweeper"
    );
}
