//! `operate_many`: each operation of a batch acts as if it were alone.

use bgjob::{
    JobId,
    job::{
        Due, State,
        transition::{Operated, Operation},
    },
};

use super::bundle::{Bundle, To, plain, secs};

pub(super) async fn many(t: &Bundle, operations: &[(JobId, Operation)]) -> Vec<Operated> {
    let answers = t.store.operate_many(operations).await;
    let answers = answers.expect("operate_many answers");
    assert_eq!(answers.len(), operations.len(), "one answer an element");
    answers
}

pub(super) async fn each_operation_has_its_answer(t: &Bundle) {
    let (waits, dead) = (t.add(|_| {}).await, t.ended(To::Death, |_| {}).await);
    let held = t.running(|_| {}).await;
    let (done, over) = (
        t.ended(To::Success, |_| {}).await,
        t.ended(To::Death, |_| {}).await,
    );
    let answers = many(
        t,
        &[
            (waits, Operation::Cancel),
            (JobId::new(), Operation::Cancel),
            (dead, Operation::Requeue(Due::Now)),
            (held.id, Operation::Cancel),
            (held.id, Operation::Delete),
            (done, Operation::Delete),
            (over, Operation::Reschedule(Due::Now)),
        ],
    )
    .await;
    let expected = [
        Operated::Done(State::Cancelled),
        Operated::Missing,
        Operated::Done(State::Ready),
        Operated::Done(State::Running),
        Operated::Refused(State::Running),
        Operated::Done(State::Succeeded),
        Operated::Refused(State::Dead),
    ];
    assert_eq!(answers, expected);
    assert_eq!(t.state(waits).await, State::Cancelled);
    let again = t.job(dead).await;
    assert_eq!(
        (again.state(), again.epoch, again.errors),
        (State::Ready, 1, 0)
    );
    assert_eq!(t.get(done).await, None);
    t.claim(dead).await;
}

pub(super) async fn operations_on_one_job_come_one_after_the_other(t: &Bundle) {
    let id = t.ended(To::Death, |_| {}).await;
    let answers = many(
        t,
        &[
            (id, Operation::Requeue(Due::Now)),
            (id, Operation::Requeue(Due::Now)),
            (id, Operation::Reschedule(Due::After(secs(60)))),
            (id, Operation::Cancel),
            (id, Operation::Requeue(Due::Now)),
        ],
    )
    .await;
    let expected = [
        Operated::Done(State::Ready),
        Operated::Refused(State::Ready),
        Operated::Done(State::Ready),
        Operated::Done(State::Cancelled),
        Operated::Done(State::Ready),
    ];
    assert_eq!(answers, expected);
    let job = t.job(id).await;
    assert_eq!((job.epoch, job.ver), (2, 4));
}

pub(super) async fn what_one_ends_another_requeues(t: &Bundle) {
    let jobs = plain(3);
    t.add_all(&jobs).await;
    let cancel = jobs.iter().map(|job| (job.id, Operation::Cancel));
    let requeue = jobs
        .iter()
        .map(|job| (job.id, Operation::Requeue(Due::Now)));
    let answers = many(t, &cancel.chain(requeue).collect::<Vec<_>>()).await;
    assert_eq!(answers[..3], [Operated::Done(State::Cancelled); 3]);
    assert_eq!(answers[3..], [Operated::Done(State::Ready); 3]);
}

pub(super) async fn a_thousand_operations_fit_one_batch(t: &Bundle) {
    let jobs = plain(1000);
    t.add_all(&jobs).await;
    let each = |operation: Operation| {
        let each = jobs.iter().map(|job| (job.id, operation.clone()));
        each.collect::<Vec<_>>()
    };
    let answers = many(t, &each(Operation::Cancel)).await;
    assert_eq!(answers, vec![Operated::Done(State::Cancelled); 1000]);
    let answers = many(t, &each(Operation::Requeue(Due::Now))).await;
    assert_eq!(answers, vec![Operated::Done(State::Ready); 1000]);
    assert_eq!(t.ready(1000).await.len(), 1000);
}

pub(super) async fn no_operations_are_no_error(t: &Bundle) {
    assert!(many(t, &[]).await.is_empty());
}
