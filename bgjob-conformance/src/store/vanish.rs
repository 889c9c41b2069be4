//! `retain` zero: the job is deleted when it ends, and its id is remembered for a while.

use std::time::Duration;

use bgjob::{
    JobSpec,
    job::{
        NewJob, State,
        transition::{Operated, Operation, REMEMBERED},
    },
    store::{Claim, Created, Finished, Renewed},
};

use super::bundle::{Bundle, QUEUE, To, abort, new, other_named, secs, success};

fn vanishing(spec: &mut JobSpec) {
    spec.retain = Duration::ZERO;
}

/// A job that ran and vanished.
async fn vanished(t: &Bundle) -> NewJob {
    let job = new(vanishing);
    t.add_all(std::slice::from_ref(&job)).await;
    t.end(job.id, To::Success).await;
    job
}

pub(super) async fn success_deletes_at_once(t: &Bundle) {
    let job = vanished(t).await;
    assert_eq!(t.get(job.id).await, None);
    assert_eq!(t.counts(QUEUE).await, [], "and it is counted nowhere");
    assert!(t.list(&Default::default(), None, 10).await.is_empty());
}

pub(super) async fn a_repeated_create_starts_nothing(t: &Bundle) {
    let job = vanished(t).await;
    assert_eq!(
        t.create(std::slice::from_ref(&job)).await,
        [Created::Exists]
    );
    assert_eq!(t.get(job.id).await, None, "it does not come back");
    t.advance(REMEMBERED - secs(10)).await;
    t.purge(10).await;
    assert_eq!(
        t.create(&[job]).await,
        [Created::Exists],
        "not for five minutes"
    );
}

pub(super) async fn the_id_is_free_when_it_is_forgotten(t: &Bundle) {
    let job = vanished(t).await;
    t.advance(REMEMBERED + secs(1)).await;
    t.purge(10).await;
    assert_eq!(
        t.create(std::slice::from_ref(&job)).await,
        [Created::Created]
    );
    assert_eq!(t.state(job.id).await, State::Ready);
}

pub(super) async fn remembered_ids_are_no_jobs(t: &Bundle) {
    let job = vanished(t).await;
    t.advance(REMEMBERED + secs(1)).await;
    assert_eq!(
        t.purge(10).await,
        0,
        "purge counts jobs, not ids: {}",
        job.id
    );
}

pub(super) async fn a_repeated_finish_is_lost_or_the_same(t: &Bundle) {
    let held = t.running(vanishing).await;
    t.finish(&held, success()).await;
    let again = t.try_finish(held.id, held.token, success()).await;
    let fine = [Finished::Lost, Finished::Applied(State::Succeeded)];
    assert!(fine.contains(&again), "{again:?}");
    assert_eq!(t.renew_one(held.id, held.token).await, Renewed::Lost);
}

pub(super) async fn a_late_claim_gets_nothing(t: &Bundle) {
    let job = vanished(t).await;
    let answer = t.try_claim(job.id).await;
    assert!(
        matches!(answer, Claim::Missing | Claim::Terminal),
        "{answer:?}"
    );
}

pub(super) async fn an_operator_finds_nothing(t: &Bundle) {
    let job = vanished(t).await;
    for operation in [Operation::Cancel, Operation::Delete] {
        assert_eq!(t.operate(job.id, operation).await, Operated::Missing);
    }
}

pub(super) async fn a_cancelled_job_vanishes_too(t: &Bundle) {
    let waiting = t.add(vanishing).await;
    let done = t.operate(waiting, Operation::Cancel).await;
    assert_eq!(done, Operated::Done(State::Cancelled));
    assert_eq!(t.get(waiting).await, None);
    let held = t.running(vanishing).await;
    t.operate(held.id, Operation::Cancel).await;
    t.crash(&held).await;
    assert_eq!(t.get(held.id).await, None, "ended by the sweeper");
}

pub(super) async fn a_dead_job_stays(t: &Bundle) {
    let held = t.running(vanishing).await;
    t.finish(&held, abort()).await;
    t.advance(super::bundle::DAY).await;
    t.purge(10).await;
    assert_eq!(
        t.state(held.id).await,
        State::Dead,
        "what failed is kept to be looked at"
    );
}

pub(super) async fn its_id_is_its_own_even_with_other_content(t: &Bundle) {
    let job = vanished(t).await;
    let answer = t.create(&[other_named(job.id)]).await.remove(0);
    let fine = matches!(answer, Created::Exists | Created::IdTaken(_));
    assert!(fine, "the id can't be used again at once: {answer:?}");
}
