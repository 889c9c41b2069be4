//! `counts`: how many jobs wait, for what, and how the others ended.

use bgjob::job::{Due, End, transition::Operation};

use super::bundle::{Bundle, NAME, OTHER_NAME, OTHER_QUEUE, QUEUE, To, error_after, secs};

pub(super) async fn an_empty_store_counts_nothing(t: &Bundle) {
    assert_eq!(t.count(QUEUE, NAME).await.total(), 0);
}

pub(super) async fn queues_and_names_are_apart(t: &Bundle) {
    t.add(|_| {}).await;
    t.add(|spec| spec.version = 0).await;
    t.add(|spec| spec.name = OTHER_NAME.into()).await;
    t.add(|spec| spec.queue = OTHER_QUEUE.into()).await;
    assert_eq!(t.count(QUEUE, NAME).await.due, 2, "versions are not");
    assert_eq!(t.count(QUEUE, OTHER_NAME).await.due, 1);
    assert_eq!(t.count(OTHER_QUEUE, NAME).await.due, 1);
    assert_eq!(t.count(OTHER_QUEUE, OTHER_NAME).await.due, 0);
}

pub(super) async fn what_is_due_is_told_from_what_is_delayed(t: &Bundle) {
    t.add(|_| {}).await;
    for seconds in [10, 20, 30] {
        t.add_due(Due::After(secs(seconds)), |_| {}).await;
    }
    let counts = t.count(QUEUE, NAME).await;
    assert_eq!((counts.due, counts.delayed, counts.backing_off), (1, 3, 0));
    t.advance(secs(20)).await;
    let counts = t.count(QUEUE, NAME).await;
    assert_eq!((counts.due, counts.delayed, counts.backing_off), (3, 1, 0));
}

pub(super) async fn what_backs_off_is_told_from_what_is_delayed(t: &Bundle) {
    t.add_due(Due::After(secs(600)), |_| {}).await;
    let failed = t.running(|_| {}).await;
    t.finish(&failed, error_after(secs(60))).await;
    let snoozed = t.running(|_| {}).await;
    t.finish(&snoozed, End::Snooze(secs(60))).await;
    let counts = t.count(QUEUE, NAME).await;
    assert_eq!((counts.due, counts.delayed, counts.backing_off), (0, 1, 2));
    // Once they are due they count like all others.
    t.advance(secs(61)).await;
    let counts = t.count(QUEUE, NAME).await;
    assert_eq!((counts.due, counts.delayed, counts.backing_off), (2, 1, 0));
}

pub(super) async fn what_crashed_backs_off(t: &Bundle) {
    let crashed = t.running(|_| {}).await;
    t.crash(&crashed).await;
    let counts = t.count(QUEUE, NAME).await;
    assert_eq!((counts.due, counts.delayed, counts.backing_off), (0, 0, 1));
    t.operate(crashed.id, Operation::Reschedule(Due::Now)).await;
    let counts = t.count(QUEUE, NAME).await;
    assert_eq!((counts.due, counts.delayed, counts.backing_off), (1, 0, 0));
}

pub(super) async fn the_age_of_the_oldest_due_job_is_told(t: &Bundle) {
    t.add_due(Due::After(secs(3600)), |_| {}).await;
    assert_eq!(
        t.count(QUEUE, NAME).await.oldest_due_age,
        None,
        "none is due"
    );
    let first = t.add_due(Due::After(secs(10)), |_| {}).await;
    t.advance(secs(10)).await;
    t.add(|spec| spec.priority = bgjob::Priority::Critical)
        .await;
    t.advance(secs(30)).await;
    t.add(|_| {}).await;
    let age = |counts: bgjob::QueueCounts| counts.oldest_due_age.expect("some are due");
    let told = age(t.count(QUEUE, NAME).await);
    assert!((secs(30)..secs(36)).contains(&told), "{told:?}");
    t.end(first, To::Success).await;
    // The urgent job has waited nearly as long.
    let told = age(t.count(QUEUE, NAME).await);
    assert!((secs(29)..secs(36)).contains(&told), "{told:?}");
}

pub(super) async fn ends_are_counted_whatever_they_came_from(t: &Bundle) {
    for to in To::ALL {
        t.ended(to, |_| {}).await;
        t.ended(to, |spec| spec.name = OTHER_NAME.into()).await;
    }
    t.add(|spec| spec.expires = Some(secs(5))).await;
    let killer = t.running(|spec| spec.max_crashes = 1).await;
    t.crash(&killer).await;
    let counts = t.count(QUEUE, NAME).await;
    let over = (counts.succeeded, counts.dead, counts.cancelled);
    assert_eq!((over, counts.waiting(), counts.running), ((1, 3, 1), 0, 0));
    let other = t.count(QUEUE, OTHER_NAME).await;
    assert_eq!((other.succeeded, other.dead, other.cancelled), (1, 1, 1));
}

pub(super) async fn what_leaves_its_end_is_not_counted_there(t: &Bundle) {
    let ids = [
        t.ended(To::Death, |_| {}).await,
        t.ended(To::Death, |_| {}).await,
    ];
    t.ended(To::Success, |spec| spec.retain = secs(60)).await;
    t.ended(To::Success, |spec| spec.retain = secs(0)).await;
    t.operate(ids[0], Operation::Requeue(Due::Now)).await;
    t.operate(ids[1], Operation::Delete).await;
    let counts = t.count(QUEUE, NAME).await;
    assert_eq!((counts.dead, counts.succeeded, counts.due), (0, 1, 1));
    t.advance(secs(61)).await;
    t.purge(10).await;
    assert_eq!(t.count(QUEUE, NAME).await.succeeded, 0);
}
