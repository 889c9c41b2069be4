//! T12: a job that is over is deleted when its retention has passed, and not before.

use bgjob::{
    JobSpec,
    job::{Due, State, transition::Operation},
    store::{Claim, Created},
};

use super::bundle::{Bundle, DAY, LEASE, To, ids, plain, secs};

pub(super) async fn a_job_is_kept_until_its_time(t: &Bundle) {
    let id = t.ended(To::Success, |spec| spec.retain = secs(60)).await;
    t.advance(secs(55)).await;
    assert_eq!(t.purge(10).await, 0);
    assert_eq!(t.state(id).await, State::Succeeded);
    t.advance(secs(5)).await;
    assert_eq!(t.purge(10).await, 1);
    assert_eq!(t.get(id).await, None);
    assert_eq!(t.purge(10).await, 0, "once");
}

pub(super) async fn a_moment_too_early_is_too_early(t: &Bundle) {
    let moment = std::time::Duration::from_millis(900);
    let id = t.ended(To::Success, |spec| spec.retain = moment).await;
    t.advance(moment / 9).await;
    assert_eq!(t.purge(10).await, 0, "times are kept to the millisecond");
    assert_eq!(t.state(id).await, State::Succeeded);
    t.advance(moment).await;
    assert_eq!(t.purge(10).await, 1);
}

pub(super) async fn each_is_kept_as_long_as_it_asks_for(t: &Bundle) {
    let [short, long] = [secs(60), secs(90)].map(|span| move |s: &mut JobSpec| s.retain = span);
    let [first, second] = [
        t.ended(To::Success, long).await,
        t.ended(To::Cancelled, short).await,
    ];
    t.advance(secs(75)).await;
    assert_eq!(t.purge(10).await, 1);
    assert_eq!(
        (t.state(first).await, t.get(second).await),
        (State::Succeeded, None)
    );
    t.advance(secs(15)).await;
    assert_eq!(t.purge(10).await, 1);
}

pub(super) async fn the_dead_are_kept_for_thirty_days(t: &Bundle) {
    let id = t.ended(To::Death, |spec| spec.retain = secs(1)).await;
    t.advance(JobSpec::RETAIN_DEAD - DAY).await;
    assert_eq!(t.purge(10).await, 0);
    assert_eq!(t.state(id).await, State::Dead);
    t.advance(DAY).await;
    assert_eq!(t.purge(10).await, 1);
}

pub(super) async fn live_jobs_are_never_purged(t: &Bundle) {
    let waiting = t.add(|spec| spec.retain = secs(1)).await;
    let later = t
        .add_due(Due::After(JobSpec::RETAIN_DEAD * 3), |_| {})
        .await;
    let running = t.running(|spec| spec.retain = secs(1)).await.id;
    t.advance(JobSpec::RETAIN_DEAD * 2).await;
    assert_eq!(t.purge(10).await, 0);
    let states = [
        t.state(waiting).await,
        t.state(later).await,
        t.state(running).await,
    ];
    assert_eq!(states, [State::Ready, State::Ready, State::Running]);
}

pub(super) async fn a_purge_is_bounded_and_says_how_many(t: &Bundle) {
    let jobs = plain(7);
    t.add_all(&jobs).await;
    for id in ids(&jobs) {
        t.end(id, To::Success).await;
    }
    t.advance(DAY + secs(1)).await;
    assert_eq!(t.purge(0).await, 0);
    assert_eq!(t.purge(3).await, 3);
    assert_eq!(t.list(&Default::default(), None, 10).await.len(), 4);
    assert_eq!(t.purge(4).await, 4, "the limit, so there may be more");
    assert_eq!(t.purge(4).await, 0, "fewer than the limit: none are left");
}

pub(super) async fn a_requeued_job_is_not_purged_at_its_old_time(t: &Bundle) {
    let id = t.ended(To::Success, |spec| spec.retain = secs(60)).await;
    t.operate(id, Operation::Requeue(Due::Now)).await;
    t.advance(secs(61)).await;
    assert_eq!(t.purge(10).await, 0, "it is live again");
    t.end(id, To::Success).await;
    t.advance(secs(30)).await;
    assert_eq!(t.purge(10).await, 0, "its time starts anew");
    t.advance(secs(31)).await;
    assert_eq!(t.purge(10).await, 1);
}

pub(super) async fn a_purged_id_is_free(t: &Bundle) {
    let job = super::bundle::new(|spec| spec.retain = secs(1));
    t.add_all(std::slice::from_ref(&job)).await;
    t.end(job.id, To::Success).await;
    t.advance(secs(2)).await;
    t.purge(10).await;
    assert!(matches!(t.try_claim(job.id).await, Claim::Missing));
    assert_eq!(
        t.create(std::slice::from_ref(&job)).await,
        [Created::Created]
    );
}

pub(super) async fn what_the_sweeper_ended_is_purged_like_the_rest(t: &Bundle) {
    let held = t.running(|spec| spec.max_crashes = 1).await;
    t.add(|spec| spec.expires = Some(secs(1))).await;
    t.advance(LEASE + secs(2)).await;
    assert_eq!(t.sweep().await.len(), 2);
    assert_eq!(t.state(held.id).await, State::Dead);
    t.advance(JobSpec::RETAIN_DEAD + secs(1)).await;
    assert_eq!(t.purge(10).await, 2);
}
