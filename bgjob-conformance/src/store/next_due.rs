//! The time until the next job is due, so that an idle dispatcher waits exactly that long.

use std::time::Duration;

use bgjob::job::{Due, Serves};

use super::bundle::{
    Bundle, NAME, OTHER_QUEUE, QUEUE, VERSION, error_after, plain, secs, serves, serving, want,
};

/// Time that may pass by itself between two calls.
const SLACK: Duration = secs(3);

async fn next(t: &Bundle, serves: &Serves) -> Option<Duration> {
    t.ready_by(&[want(QUEUE, 10)], &t.grant(), serves)
        .await
        .next_due_in
}

fn about(next: Option<Duration>, expected: Duration) {
    let next = next.expect("a job will be due, and the claim says when");
    assert!(
        next <= expected && next + SLACK >= expected,
        "{next:?} should be {expected:?}"
    );
}

pub(super) async fn none_where_nothing_waits(t: &Bundle) {
    assert_eq!(next(t, &serves()).await, None);
    t.add(|_| {}).await;
    assert_eq!(next(t, &serves()).await, None, "it has just been claimed");
}

pub(super) async fn the_time_to_the_next_job(t: &Bundle) {
    t.add_due(Due::After(secs(90)), |_| {}).await;
    t.add_due(Due::After(secs(30)), |_| {}).await;
    t.add_due(Due::After(secs(60)), |_| {}).await;
    about(next(t, &serves()).await, secs(30));
    t.advance(secs(10)).await;
    about(next(t, &serves()).await, secs(20));
    t.advance(secs(20)).await;
    let claimed = t.ready_by(&[want(QUEUE, 10)], &t.grant(), &serves()).await;
    assert_eq!(claimed.jobs.len(), 1, "after this time it can be claimed");
    about(claimed.next_due_in, secs(30));
}

pub(super) async fn it_comes_with_the_jobs_that_are_ready(t: &Bundle) {
    t.add_all(&plain(2)).await;
    t.add_due(Due::After(secs(30)), |_| {}).await;
    let claimed = t.ready_by(&[want(QUEUE, 10)], &t.grant(), &serves()).await;
    assert_eq!(claimed.jobs.len(), 2);
    about(claimed.next_due_in, secs(30));
}

pub(super) async fn none_while_more_are_ready(t: &Bundle) {
    t.add_all(&plain(3)).await;
    t.add_due(Due::After(secs(30)), |_| {}).await;
    let claimed = t.ready_by(&[want(QUEUE, 2)], &t.grant(), &serves()).await;
    assert_eq!(claimed.next_due_in, None, "ask again at once, don't sleep");
}

pub(super) async fn a_retry_counts(t: &Bundle) {
    let held = t.running(|_| {}).await;
    t.finish(&held, error_after(secs(45))).await;
    about(next(t, &serves()).await, secs(45));
}

pub(super) async fn the_unserved_do_not_count(t: &Bundle) {
    t.add_due(Due::After(secs(10)), |spec| spec.name = "strange".into())
        .await;
    t.add_due(Due::After(secs(10)), |spec| spec.version = VERSION + 1)
        .await;
    t.add(|spec| spec.name = "strange".into()).await;
    assert_eq!(next(t, &serves()).await, None);
    t.add_due(Due::After(secs(60)), |_| {}).await;
    about(next(t, &serves()).await, secs(60));
}

pub(super) async fn suspects_count_where_one_is_wanted(t: &Bundle) {
    let held = t.running(|spec| spec.max_crashes = 2).await;
    t.crash(&held).await;
    assert_eq!(next(t, &serving(&[(NAME, VERSION)], false)).await, None);
    about(next(t, &serves()).await, secs(5));
}

pub(super) async fn what_has_chances_left_counts_in_any_case(t: &Bundle) {
    let held = t.running(|_| {}).await;
    t.crash(&held).await;
    let unwanted = serving(&[(NAME, VERSION)], false);
    about(next(t, &unwanted).await, secs(5));
}

pub(super) async fn other_queues_do_not_count(t: &Bundle) {
    t.add_due(Due::After(secs(10)), |spec| spec.queue = OTHER_QUEUE.into())
        .await;
    assert_eq!(next(t, &serves()).await, None);
}

pub(super) async fn the_soonest_of_all_wanted_queues(t: &Bundle) {
    t.add_due(Due::After(secs(20)), |spec| spec.queue = OTHER_QUEUE.into())
        .await;
    t.add_due(Due::After(secs(40)), |_| {}).await;
    let wants = [want(QUEUE, 1), want(OTHER_QUEUE, 1)];
    about(
        t.ready_by(&wants, &t.grant(), &serves()).await.next_due_in,
        secs(20),
    );
}

pub(super) async fn years_are_told_too(t: &Bundle) {
    let years = bgjob::job::limits::SPAN;
    t.add_due(Due::After(years), |_| {}).await;
    about(next(t, &serves()).await, years);
}
