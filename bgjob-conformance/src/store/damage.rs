//! One unreadable job among many (somebody edited it, or a newer program wrote it). It stays as it
//! is, and does not affect the others. Only if the fixture can
//! [damage](crate::StoreFixture::damage) a job.

use bgjob::{
    JobId,
    job::State,
    store::{Claim, Swept},
};

use super::bundle::{Bundle, QUEUE, To, claimed_ids, secs, serves, want};

/// Damages one of these jobs. Returns its id and the others; `None` if no job can be damaged.
async fn among(t: &Bundle, jobs: Vec<JobId>) -> Option<(JobId, Vec<JobId>)> {
    let damaged = jobs[jobs.len() / 2];
    let others = jobs.into_iter().filter(|id| *id != damaged).collect();
    t.damage(damaged).await.then_some((damaged, others))
}

pub(super) async fn a_claim_passes_it_over(t: &Bundle) {
    let mut jobs = Vec::new();
    for _ in 0..5 {
        jobs.push(t.add(|_| {}).await);
    }
    let Some((damaged, others)) = among(t, jobs).await else {
        return;
    };
    assert_eq!(t.try_claim(damaged).await, Claim::Unreadable);
    if !t.store.capabilities().ready_scan {
        return;
    }
    let mut claimed = claimed_ids(&t.ready(10).await);
    // The unreadable job may have taken the place of another one.
    claimed.extend(claimed_ids(&t.ready(10).await));
    claimed.sort_unstable();
    assert_eq!(claimed, others);
}

/// The answer of a claim was lost, and one of the jobs that it granted can't be read by now.
pub(super) async fn a_repeated_claim_returns_the_others(t: &Bundle) {
    if !t.store.capabilities().ready_scan {
        return;
    }
    for _ in 0..5 {
        t.add(|_| {}).await;
    }
    let (wanted, grant) = ([want(QUEUE, 5)], t.grant());
    let first = t.ready_by(&wanted, &grant, &serves()).await;
    let Some((damaged, others)) = among(t, claimed_ids(&first.jobs)).await else {
        return;
    };
    let repeat = grant.repeat(true);
    let again = t.ready_by(&wanted, &repeat, &serves()).await;
    assert_eq!(claimed_ids(&again.jobs), others);
    let told = again.unreadable.is_empty() || again.unreadable == [damaged];
    assert!(told, "{:?}", again.unreadable);
}

pub(super) async fn a_sweep_goes_on_with_the_others(t: &Bundle) {
    let mut jobs = Vec::new();
    for _ in 0..5 {
        jobs.push(t.add(|spec| spec.expires = Some(secs(1))).await);
    }
    let Some((_, others)) = among(t, jobs).await else {
        return;
    };
    t.advance(secs(2)).await;
    let swept = t.sweep().await;
    for id in &others {
        let expired = |one: &Swept| matches!(one, Swept::Expired { id: of, .. } if of == id);
        assert!(swept.iter().any(expired), "{swept:?}");
        assert_eq!(t.state(*id).await, State::Dead);
    }
    let held = t.running(|_| {}).await;
    t.advance(secs(60)).await;
    let swept = t.sweep().await;
    let revoked = |one: &Swept| matches!(one, Swept::Revoked { id, .. } if *id == held.id);
    assert!(swept.iter().any(revoked), "the next one too: {swept:?}");
}

pub(super) async fn a_purge_goes_on_with_the_others(t: &Bundle) {
    let mut jobs = Vec::new();
    for _ in 0..5 {
        let brief = t.ended(To::Success, |spec| spec.retain = secs(1));
        jobs.push(brief.await);
    }
    let Some((_, others)) = among(t, jobs).await else {
        return;
    };
    t.advance(secs(2)).await;
    t.purge(100).await;
    for id in others {
        assert_eq!(t.get(id).await, None, "it was kept");
    }
}
