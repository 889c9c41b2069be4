//! Unique keys: at most one live job has each (S9).

use bgjob::{
    JobSpec,
    job::{
        Due, End, State,
        transition::{Operated, Operation},
    },
    store::{Created, Holder},
};

use super::bundle::{Bundle, NAME, OTHER_NAME, OTHER_QUEUE, To, abort, error_after, new, secs};

fn keyed(spec: &mut JobSpec) {
    spec.unique_key = Some("invoice 7".into());
}

fn taken_by(id: bgjob::JobId) -> Created {
    Created::KeyTaken(Holder {
        id,
        name: Some(NAME.into()),
    })
}

async fn is_taken_by(t: &Bundle, holder: bgjob::JobId, why: &str) {
    assert_eq!(t.create(&[new(keyed)]).await, [taken_by(holder)], "{why}");
}

async fn is_free(t: &Bundle, why: &str) {
    assert_eq!(t.create(&[new(keyed)]).await, [Created::Created], "{why}");
}

pub(super) async fn a_waiting_job_has_its_key_to_itself(t: &Bundle) {
    let id = t.add(keyed).await;
    is_taken_by(t, id, "the answer names the job that has the key").await;
    t.add(|spec| spec.unique_key = Some("invoice 8".into()))
        .await;
    t.add(|_| {}).await;
    t.add(|_| {}).await;
}

pub(super) async fn a_refused_job_is_not_stored(t: &Bundle) {
    t.add(keyed).await;
    let second = new(keyed);
    t.create(std::slice::from_ref(&second)).await;
    assert_eq!(t.get(second.id).await, None);
}

pub(super) async fn a_key_spans_names_and_queues(t: &Bundle) {
    let id = t.add(keyed).await;
    let other = new(|spec| {
        keyed(spec);
        (spec.name, spec.queue) = (OTHER_NAME.into(), OTHER_QUEUE.into());
    });
    assert_eq!(
        t.create(&[other]).await,
        [taken_by(id)],
        "one key, one job; the answer names the function that has it"
    );
}

pub(super) async fn keys_are_compared_byte_by_byte(t: &Bundle) {
    let keys = [
        "a", "A", "a ", " a", "a\0", "a\0b", "%", "_", "a%", "'", "\"", "\\", "ä", "a\u{308}", "ß",
        "ss", "🦀", "null",
    ];
    for key in keys {
        let job = new(|spec| spec.unique_key = Some(key.into()));
        assert_eq!(
            t.create(&[job]).await,
            [Created::Created],
            "{key:?} is a key of its own"
        );
    }
    for key in keys {
        let job = new(|spec| spec.unique_key = Some(key.into()));
        let answer = t.create(&[job]).await.remove(0);
        assert!(
            matches!(answer, Created::KeyTaken(_)),
            "{key:?} is taken: {answer:?}"
        );
    }
}

pub(super) async fn the_holders_repeat_answers_exists(t: &Bundle) {
    let job = new(keyed);
    t.add_all(std::slice::from_ref(&job)).await;
    assert_eq!(
        t.create(&[job]).await,
        [Created::Exists],
        "it is the holder itself"
    );
}

pub(super) async fn of_two_in_one_batch_the_first_gets_it(t: &Bundle) {
    let jobs = [new(|_| {}), new(keyed), new(keyed), new(|_| {})];
    let answers = t.create(&jobs).await;
    use Created::Created as New;
    assert_eq!(answers, [New, New, taken_by(jobs[1].id), New]);
}

pub(super) async fn a_running_or_retrying_job_keeps_its_key(t: &Bundle) {
    let job = t.running(keyed).await;
    is_taken_by(t, job.id, "a running job is live").await;
    t.finish(&job, error_after(secs(60))).await;
    is_taken_by(t, job.id, "a job that will be tried again is live").await;
    t.advance(secs(61)).await;
    let job = t.claim(job.id).await;
    t.finish(&job, End::Release).await;
    is_taken_by(t, job.id, "a released job is live").await;
    let job = t.claim(job.id).await;
    t.crash(&job).await;
    is_taken_by(t, job.id, "a crashed job that will be tried again is live").await;
}

pub(super) async fn success_frees_the_key(t: &Bundle) {
    t.ended(To::Success, keyed).await;
    is_free(t, "the job is over").await;
}

pub(super) async fn death_frees_the_key(t: &Bundle) {
    let job = t.running(keyed).await;
    t.finish(&job, abort()).await;
    is_free(t, "the job is dead").await;
}

pub(super) async fn cancelling_frees_the_key(t: &Bundle) {
    t.ended(To::Cancelled, keyed).await;
    is_free(t, "the job is cancelled").await;
}

pub(super) async fn vanishing_frees_the_key(t: &Bundle) {
    let vanishing = |spec: &mut JobSpec| {
        keyed(spec);
        spec.retain = std::time::Duration::ZERO;
    };
    let job = t.running(vanishing).await;
    t.finish(&job, super::bundle::success()).await;
    is_free(t, "the job is gone").await;
}

pub(super) async fn the_sweepers_ends_free_the_key(t: &Bundle) {
    let expiring = |spec: &mut JobSpec| {
        keyed(spec);
        spec.expires = Some(secs(10));
    };
    t.add(expiring).await;
    t.advance(secs(11)).await;
    t.sweep().await;
    let job = t.running(|spec| {
        keyed(spec);
        spec.max_crashes = 1;
    });
    let job = job.await;
    t.crash(&job).await;
    assert_eq!(t.state(job.id).await, State::Dead);
    is_free(t, "expired and crashed jobs are over").await;
}

pub(super) async fn a_requeue_is_refused_while_another_has_the_key(t: &Bundle) {
    for to in To::ALL {
        let first = t.ended(to, keyed).await;
        let ended = t.job(first).await;
        let second = t.add(keyed).await;
        let answer = t.operate(first, Operation::Requeue(Due::Now)).await;
        assert_eq!(answer, Operated::KeyTaken(second), "{to:?}");
        assert_eq!(t.job(first).await, ended, "a refusal changes nothing");
        t.end(second, To::Cancelled).await;
    }
}

pub(super) async fn a_requeue_takes_its_key_again(t: &Bundle) {
    let id = t.ended(To::Success, keyed).await;
    let answer = t.operate(id, Operation::Requeue(Due::Now)).await;
    assert_eq!(answer, Operated::Done(State::Ready));
    is_taken_by(t, id, "a requeued job is live again").await;
    t.end(id, To::Success).await;
    is_free(t, "and over again").await;
}

pub(super) async fn an_old_holder_that_is_purged_leaves_the_new_one_its_key(t: &Bundle) {
    let old = t.ended(To::Success, keyed).await;
    let holder = t.add(keyed).await;
    assert_eq!(
        t.operate(old, Operation::Delete).await,
        Operated::Done(State::Succeeded)
    );
    is_taken_by(
        t,
        holder,
        "deleting an old job does not free what a live one has",
    )
    .await;
}

pub(super) async fn the_key_comes_back_with_the_job(t: &Bundle) {
    let job = new(|spec| (spec.name, spec.unique_key) = (NAME.into(), Some("k".repeat(256))));
    t.add_all(std::slice::from_ref(&job)).await;
    assert_eq!(t.job(job.id).await.spec.unique_key, job.spec.unique_key);
}
