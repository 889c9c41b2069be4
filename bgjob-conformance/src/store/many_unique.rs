//! `operate_many` on jobs with unique keys.

use bgjob::{
    JobId,
    job::{
        Due, State,
        transition::{Operated, Operation},
    },
};

use super::{
    bundle::{Bundle, To, new},
    many::many,
};

async fn dead(t: &Bundle, key: &str) -> JobId {
    t.ended(To::Death, |spec| spec.unique_key = Some(key.into()))
        .await
}

fn requeued(ids: &[JobId]) -> Vec<(JobId, Operation)> {
    let requeue = |id: &JobId| (*id, Operation::Requeue(Due::Now));
    ids.iter().map(requeue).collect()
}

pub(super) async fn of_two_of_one_key_the_first_is_requeued(t: &Bundle) {
    let ids = [
        dead(t, "k").await,
        dead(t, "k").await,
        dead(t, "other").await,
    ];
    let answers = many(t, &requeued(&ids)).await;
    let expected = [
        Operated::Done(State::Ready),
        Operated::KeyTaken(ids[0]),
        Operated::Done(State::Ready),
    ];
    assert_eq!(answers, expected);
}

pub(super) async fn a_key_is_looked_for_by_each_requeue(t: &Bundle) {
    let ids = [dead(t, "a").await, dead(t, "b").await, dead(t, "c").await];
    let holder = t.add(|spec| spec.unique_key = Some("b".into())).await;
    let answers = many(t, &requeued(&ids)).await;
    let expected = [
        Operated::Done(State::Ready),
        Operated::KeyTaken(holder),
        Operated::Done(State::Ready),
    ];
    assert_eq!(answers, expected);
    assert_eq!(t.state(ids[1]).await, State::Dead);
}

pub(super) async fn a_key_that_is_freed_before_is_free(t: &Bundle) {
    let id = dead(t, "k").await;
    let holder = t.add(|spec| spec.unique_key = Some("k".into())).await;
    let late = [
        (id, Operation::Requeue(Due::Now)),
        (holder, Operation::Cancel),
    ];
    let answers = many(t, &late).await;
    let expected = [Operated::KeyTaken(holder), Operated::Done(State::Cancelled)];
    assert_eq!(answers, expected);
    let early = [
        (id, Operation::Requeue(Due::Now)),
        (id, Operation::Cancel),
        (holder, Operation::Requeue(Due::Now)),
    ];
    let answers = many(t, &early).await;
    let expected = [
        Operated::Done(State::Ready),
        Operated::Done(State::Cancelled),
        Operated::Done(State::Ready),
    ];
    assert_eq!(answers, expected);
}

pub(super) async fn keys_of_many_come_back(t: &Bundle) {
    let key = |n: usize| format!("key {n}");
    let mut ids = Vec::new();
    for n in 0..50 {
        ids.push(dead(t, &key(n)).await);
    }
    let answers = many(t, &requeued(&ids)).await;
    assert_eq!(answers, vec![Operated::Done(State::Ready); 50]);
    let again = new(|spec| spec.unique_key = Some(key(7)));
    let answer = t.create(std::slice::from_ref(&again)).await.remove(0);
    let holder = bgjob::store::Holder {
        id: ids[7],
        name: Some(again.spec.name.clone()),
    };
    assert_eq!(answer, bgjob::store::Created::KeyTaken(holder));
}
