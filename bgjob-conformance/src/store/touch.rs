//! T8: a due job without a recent hint gets another hint.

use bgjob::{
    JobId, Priority,
    job::{
        Due, State,
        transition::{Operation, SweepPolicy},
    },
    queue::Hint,
    store::Swept,
};

use super::bundle::{Bundle, QUEUE, To, error_after, new, secs};

fn policy() -> SweepPolicy {
    SweepPolicy::default().touch(Some(SweepPolicy::TOUCH))
}

async fn touched(t: &Bundle) -> Vec<JobId> {
    let id = |swept| match swept {
        Swept::Touched(hint) => hint.id,
        other => panic!("nothing else was to be done: {other:?}"),
    };
    t.sweep_by(100, &policy())
        .await
        .into_iter()
        .map(id)
        .collect()
}

pub(super) async fn a_job_that_waits_is_hinted_at(t: &Bundle) {
    let id = t.add(|spec| spec.priority = Priority::High).await;
    assert!(
        touched(t).await.is_empty(),
        "the first hint was the enqueuer's"
    );
    t.advance(secs(16)).await;
    let hint = Hint::new(id, QUEUE, Priority::High);
    assert_eq!(t.sweep_by(100, &policy()).await, [Swept::Touched(hint)]);
    assert_eq!(
        t.state(id).await,
        State::Ready,
        "a hint changes nothing else"
    );
    t.claim(id).await;
}

pub(super) async fn without_a_queue_there_are_no_hints(t: &Bundle) {
    t.add(|_| {}).await;
    t.advance(secs(3600)).await;
    assert!(t.sweep().await.is_empty());
}

pub(super) async fn a_store_that_gets_a_queue_finds_what_waits(t: &Bundle) {
    let id = t.add(|_| {}).await;
    t.advance(secs(60)).await;
    assert!(t.sweep().await.is_empty());
    assert_eq!(touched(t).await, [id], "no job depends on who swept before");
}

pub(super) async fn hints_come_ever_more_seldom(t: &Bundle) {
    t.add(|_| {}).await;
    let mut at = Vec::new();
    for step in 1..=300_u64 {
        t.advance(secs(5)).await;
        if !touched(t).await.is_empty() {
            at.push(step * 5);
        }
    }
    assert!(
        (5..=9).contains(&at.len()),
        "a job that nobody wants costs ever less: {at:?}"
    );
    let gaps: Vec<_> = at.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(
        gaps.is_sorted() && gaps[0] >= 15,
        "each gap is at least the one before: {at:?}"
    );
}

pub(super) async fn a_delayed_job_is_hinted_at_when_it_is_due(t: &Bundle) {
    let id = t.add_due(Due::After(secs(60)), |_| {}).await;
    t.advance(secs(55)).await;
    assert!(touched(t).await.is_empty(), "never early");
    t.advance(secs(5)).await;
    assert_eq!(
        touched(t).await,
        [id],
        "its enqueuer pushed no hint, so the sweeper does at once"
    );
    assert!(touched(t).await.is_empty(), "once");
}

pub(super) async fn a_retry_is_hinted_at_when_it_is_due(t: &Bundle) {
    let held = t.running(|_| {}).await;
    t.finish(&held, error_after(secs(60))).await;
    t.advance(secs(59)).await;
    assert!(touched(t).await.is_empty());
    t.advance(secs(1)).await;
    assert_eq!(touched(t).await, [held.id]);
}

pub(super) async fn who_runs_or_is_over_is_not_hinted_at(t: &Bundle) {
    t.running(|_| {}).await;
    for to in To::ALL {
        t.ended(to, |_| {}).await;
    }
    t.advance(secs(20)).await;
    assert!(touched(t).await.is_empty());
}

pub(super) async fn a_crashed_job_is_hinted_at_after_its_backoff(t: &Bundle) {
    let held = t.running(|_| {}).await;
    t.crash(&held).await;
    t.advance(secs(4)).await;
    assert!(touched(t).await.is_empty());
    t.advance(secs(1)).await;
    assert_eq!(touched(t).await, [held.id]);
}

pub(super) async fn a_rescheduled_job_is_hinted_at_at_its_new_time(t: &Bundle) {
    let id = t.add_due(Due::After(secs(3600)), |_| {}).await;
    t.operate(id, Operation::Reschedule(Due::After(secs(30))))
        .await;
    t.advance(secs(30)).await;
    assert_eq!(touched(t).await, [id]);
}

pub(super) async fn a_requeued_job_is_hinted_at(t: &Bundle) {
    let id = t.ended(To::Success, |_| {}).await;
    t.operate(id, Operation::Requeue(Due::Now)).await;
    t.advance(secs(16)).await;
    assert_eq!(touched(t).await, [id]);
}

pub(super) async fn the_limit_bounds_hints_too(t: &Bundle) {
    let jobs: Vec<_> = (0..10).map(|_| new(|_| {})).collect();
    t.add_all(&jobs).await;
    t.advance(secs(16)).await;
    let mut seen = std::collections::BTreeSet::new();
    for expected in [4, 4, 2, 0] {
        let some = t.sweep_by(4, &policy()).await;
        assert_eq!(some.len(), expected);
        for swept in some {
            let Swept::Touched(hint) = swept else {
                panic!("only hints were to be given: {swept:?}");
            };
            assert!(seen.insert(hint.id), "each job is hinted at once a round");
        }
    }
    assert_eq!(seen.len(), jobs.len());
}
