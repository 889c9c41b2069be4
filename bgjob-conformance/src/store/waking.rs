//! Waits: a change wakes the waiting caller, even if it comes just before the wait.

use std::{future::Future, pin::pin, sync::Arc, task::Poll, time::Duration};

use bgjob::{
    JobSpec, Result,
    job::{
        Due, End,
        transition::{Operation, SweepPolicy},
    },
};

use super::bundle::{Bundle, OTHER_QUEUE, QUEUE, To, error_after, secs, success};

/// Longer than any wake-up takes, however busy the machine is.
const PATIENCE: Duration = secs(10);

/// Begins the wait, makes the change, and checks that the wait ends.
async fn woken(why: &str, wait: impl Future<Output = Result<()>>, change: impl Future) {
    let mut wait = pin!(wait);
    // The call begins with its first poll.
    let first = std::future::poll_fn(|context| Poll::Ready(wait.as_mut().poll(context).is_ready()));
    let early = first.await;
    change.await;
    if !early {
        let woken = tokio::time::timeout(PATIENCE, wait).await;
        woken.expect(why).expect("a wait answers");
    }
}

fn queues() -> Vec<Arc<str>> {
    vec![OTHER_QUEUE.into(), QUEUE.into()]
}

pub(super) async fn a_new_job_wakes(t: &Bundle) {
    woken(
        "a job was stored",
        t.store.wait_ready(&queues()),
        t.add(|_| {}),
    )
    .await;
    let other = |spec: &mut JobSpec| spec.queue = OTHER_QUEUE.into();
    woken(
        "in any of the queues",
        t.store.wait_ready(&queues()),
        t.add(other),
    )
    .await;
}

pub(super) async fn an_earlier_due_time_wakes(t: &Bundle) {
    t.add_due(Due::After(secs(3600)), |_| {}).await;
    let sooner = t.add_due(Due::After(secs(60)), |_| {});
    woken(
        "who sleeps till the next job must hear",
        t.store.wait_ready(&queues()),
        sooner,
    )
    .await;
}

pub(super) async fn a_retry_wakes(t: &Bundle) {
    let held = t.running(|_| {}).await;
    let retry = t.finish(&held, error_after(secs(30)));
    woken("the job will be due", t.store.wait_ready(&queues()), retry).await;
}

pub(super) async fn a_release_wakes(t: &Bundle) {
    let held = t.running(|_| {}).await;
    let release = t.finish(&held, End::Release);
    woken(
        "the job is ready again",
        t.store.wait_ready(&queues()),
        release,
    )
    .await;
}

pub(super) async fn a_revoke_wakes(t: &Bundle) {
    t.running(|_| {}).await;
    t.advance(secs(3600)).await;
    let policy = SweepPolicy::default().crash_backoff(vec![Duration::ZERO]);
    let sweep = t.sweep_by(10, &policy);
    woken(
        "the job is ready again",
        t.store.wait_ready(&queues()),
        sweep,
    )
    .await;
}

pub(super) async fn an_operator_wakes(t: &Bundle) {
    let id = t.ended(To::Success, |_| {}).await;
    let requeue = t.operate(id, Operation::Requeue(Due::After(secs(600))));
    woken("requeued", t.store.wait_ready(&queues()), requeue).await;
    let reschedule = t.operate(id, Operation::Reschedule(Due::Now));
    woken("rescheduled", t.store.wait_ready(&queues()), reschedule).await;
}

pub(super) async fn every_waiter_is_woken(t: &Bundle) {
    let both = async {
        let queues = queues();
        let (first, second) = tokio::join!(
            t.store.wait_ready(&queues),
            t.store.wait_ready(&queues[1..])
        );
        first.and(second)
    };
    woken("both waited for it", both, t.add(|_| {})).await;
}

pub(super) async fn a_wait_that_is_dropped_takes_no_wake_up_along(t: &Bundle) {
    let queues = queues();
    let dropped = tokio::time::timeout(Duration::ZERO, t.store.wait_ready(&queues)).await;
    drop(dropped);
    woken(
        "the other one still waits",
        t.store.wait_ready(&queues),
        t.add(|_| {}),
    )
    .await;
}

pub(super) async fn every_end_wakes(t: &Bundle) {
    for to in To::ALL {
        let id = t.add(|_| {}).await;
        woken("the job has ended", t.store.wait_ended(id), t.end(id, to)).await;
    }
}

pub(super) async fn the_sweepers_ends_wake(t: &Bundle) {
    let held = t.running(|spec| spec.max_crashes = 1).await;
    woken("it crashed", t.store.wait_ended(held.id), t.crash(&held)).await;
    let id = t.add(|spec| spec.expires = Some(secs(1))).await;
    let expire = async {
        t.advance(secs(2)).await;
        t.sweep().await
    };
    woken("it expired", t.store.wait_ended(id), expire).await;
}

pub(super) async fn vanishing_wakes(t: &Bundle) {
    let held = t.running(|spec| spec.retain = Duration::ZERO).await;
    woken(
        "it is gone",
        t.store.wait_ended(held.id),
        t.finish(&held, success()),
    )
    .await;
}

pub(super) async fn a_cancel_wakes_those_who_hold_jobs(t: &Bundle) {
    let [held, other] = [t.running(|_| {}).await, t.running(|_| {}).await];
    let none = t.store.cancelled().await.expect("it answers");
    assert!(
        none.is_none_or(|ids| ids.is_empty()),
        "nobody has cancelled"
    );
    for _ in 0..2 {
        let cancel = t.operate(held.id, Operation::Cancel);
        woken("a job was cancelled", t.store.wait_cancelled(), cancel).await;
        let asked = t.store.cancelled().await.expect("it answers");
        assert!(asked.is_none_or(|ids| ids == [held.id]), "it is the one");
    }
    t.finish(&held, success()).await;
    t.finish(&other, success()).await;
    let none = t.store.cancelled().await.expect("it answers");
    assert!(
        none.is_none_or(|ids| ids.is_empty()),
        "what is over is done with"
    );
}

pub(super) async fn a_wait_is_woken_not_polled(t: &Bundle) {
    // The best of several tries: a busy machine may be late once, a slow poll is late every time.
    let mut best = PATIENCE;
    for _ in 0..10 {
        let mut since = None;
        woken("a job was stored", t.store.wait_ready(&queues()), async {
            // Let the wait settle, so that a poll of it does not coincide with the change.
            tokio::task::yield_now().await;
            t.add(|_| {}).await;
            since = Some(std::time::Instant::now());
        })
        .await;
        best = best.min(since.expect("the change ran").elapsed());
    }
    assert!(
        best < Duration::from_millis(100),
        "woken after {best:?} at best"
    );
}
