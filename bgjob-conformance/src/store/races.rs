//! Several callers at once: every race has exactly one winner.

use std::{sync::Arc, time::Duration};

use bgjob::{
    Json,
    job::{
        ClaimedJob, Due, End, State,
        transition::{Operated, Operation, SweepPolicy},
    },
    store::{Claim, Created, Ending, Finished, Swept},
};

use super::bundle::{Bundle, LEASE, error_after, new, plain, secs, serves, success};
use crate::together::at_once;

pub(super) async fn of_many_creates_of_one_id_one_wins(t: &Bundle) {
    for _ in 0..20 {
        let job = new(|_| {});
        let answers = at_once((0..8).map(|_| {
            let (store, job) = (Arc::clone(&t.store), job.clone());
            async move {
                store
                    .create(&[job])
                    .await
                    .expect("create answers")
                    .remove(0)
            }
        }))
        .await;
        let won = answers
            .iter()
            .filter(|answer| **answer == Created::Created)
            .count();
        let again = answers
            .iter()
            .filter(|answer| **answer == Created::Exists)
            .count();
        assert_eq!((won, again), (1, 7), "{answers:?}");
    }
}

pub(super) async fn of_many_claims_of_one_job_one_wins(t: &Bundle) {
    for _ in 0..50 {
        let id = t.add(|_| {}).await;
        let answers = at_once((0..8).map(|_| {
            let (store, grant) = (Arc::clone(&t.store), t.grant());
            async move {
                store
                    .claim(&[id], &grant, &serves())
                    .await
                    .expect("claim answers")
            }
        }))
        .await;
        let won = answers
            .iter()
            .filter(|a| matches!(a[0], Claim::Claimed(_)))
            .count();
        let busy = answers
            .iter()
            .filter(|a| matches!(a[0], Claim::Busy))
            .count();
        assert_eq!((won, busy), (1, 7), "{answers:?}");
        assert_eq!(t.job(id).await.fence, 1);
    }
}

pub(super) async fn of_many_ends_of_one_attempt_one_counts(t: &Bundle) {
    for _ in 0..20 {
        let held = t.running(|_| {}).await;
        let answers = at_once((0..8).map(|_| {
            let store = Arc::clone(&t.store);
            let (id, token, end) = (held.id, held.token, error_after(secs(60)));
            async move {
                store
                    .finish(&[Ending::new(id, token, end)])
                    .await
                    .expect("finish answers")
            }
        }))
        .await;
        let applied = answers.iter().filter(|a| a[0] != Finished::Lost).count();
        assert!(applied >= 1, "one of them is recorded");
        let job = t.job(held.id).await;
        assert_eq!((job.errors, job.history.len()), (1, 1), "once");
    }
}

pub(super) async fn success_and_error_cannot_both_count(t: &Bundle) {
    for _ in 0..20 {
        let held = t.running(|_| {}).await;
        let ends = [success(), error_after(secs(60))].into_iter();
        let answers = finish_at_once(t, &held, ends).await;
        let state = t.state(held.id).await;
        let expected = match state {
            State::Succeeded => [Finished::Applied(state), Finished::Lost],
            _ => [Finished::Lost, Finished::Applied(State::Ready)],
        };
        assert_eq!(answers, expected);
    }
}

/// Makes several ends of one grant at the same time.
async fn finish_at_once(
    t: &Bundle,
    held: &ClaimedJob,
    ends: impl Iterator<Item = End>,
) -> Vec<Finished> {
    let (id, token) = (held.id, held.token);
    let finish = ends.map(|end| {
        let store = Arc::clone(&t.store);
        let ending = [Ending::new(id, token, end)];
        async move { store.finish(&ending).await.expect("finish answers") }
    });
    at_once(finish).await.concat()
}

pub(super) async fn what_comes_after_the_end_of_a_vanishing_job_is_lost(t: &Bundle) {
    for _ in 0..60 {
        let held = t.running(|spec| spec.retain = Duration::ZERO).await;
        let ends = (0..8).map(|n| if n == 0 { success() } else { End::Release });
        let answers = finish_at_once(t, &held, ends).await;
        // A repeated release may get the same answer again. After the success nothing else is
        // applied.
        let expected = match t.get(held.id).await {
            None => Finished::Applied(State::Succeeded),
            Some(job) => Finished::Applied(job.state()),
        };
        let fine = |answer: &Finished| *answer == Finished::Lost || *answer == expected;
        assert!(answers.contains(&expected), "{answers:?}");
        assert!(answers.iter().all(fine), "{answers:?}");
    }
}

pub(super) async fn of_finish_and_revoke_one_wins(t: &Bundle) {
    for _ in 0..50 {
        let held = t.running(|_| {}).await;
        t.advance(LEASE + secs(2)).await;
        let answers = at_once([true, false].into_iter().map(|finish| {
            let store = Arc::clone(&t.store);
            let (id, token, end) = (held.id, held.token, success());
            async move {
                if finish {
                    let done = store.finish(&[Ending::new(id, token, end)]).await;
                    done.expect("finish answers")[0] != Finished::Lost
                } else {
                    let swept = store.sweep(100, &SweepPolicy::default()).await;
                    let swept = swept.expect("sweep answers");
                    swept
                        .iter()
                        .any(|s| matches!(s, Swept::Revoked { id: it, .. } if *it == id))
                }
            }
        }))
        .await;
        assert_ne!(
            answers[0], answers[1],
            "exactly one of finish and revoke has the job"
        );
        let job = t.job(held.id).await;
        let expected = if answers[0] {
            (State::Succeeded, 0)
        } else {
            (State::Ready, 1)
        };
        assert_eq!((job.state(), job.crashes), expected);
    }
}

pub(super) async fn of_many_sweepers_one_revokes(t: &Bundle) {
    let jobs = plain(200);
    t.add_all(&jobs).await;
    let ids = super::bundle::ids(&jobs);
    t.claim_by(&ids, &t.grant(), &serves()).await;
    t.advance(LEASE + secs(2)).await;
    let answers = at_once((0..4).map(|_| {
        let store = Arc::clone(&t.store);
        async move {
            let mut all = Vec::new();
            loop {
                let swept = store
                    .sweep(20, &SweepPolicy::default())
                    .await
                    .expect("sweep answers");
                if swept.is_empty() {
                    return all;
                }
                all.extend(swept);
            }
        }
    }))
    .await;
    assert_eq!(answers.concat().len(), 200, "each crash is counted once");
    for id in ids {
        assert_eq!(t.job(id).await.crashes, 1);
    }
}

pub(super) async fn of_many_edits_of_one_version_one_wins(t: &Bundle) {
    for _ in 0..20 {
        let id = t.add(|_| {}).await;
        let answers = at_once((0..8).map(|n| {
            let store = Arc::clone(&t.store);
            let metadata = Json::trusted(n.to_string());
            let edit = Operation::Edit {
                metadata,
                version: 1,
                ver: 0,
            };
            async move { store.operate(id, &edit).await.expect("operate answers") }
        }))
        .await;
        let done = |answer: &&Operated| **answer == Operated::Done(State::Ready);
        assert_eq!(answers.iter().filter(done).count(), 1, "{answers:?}");
        let winner = answers
            .iter()
            .position(|answer| done(&answer))
            .expect("there is one");
        let job = t.job(id).await;
        assert_eq!(
            (job.spec.metadata.as_str(), job.ver),
            (&*winner.to_string(), 1)
        );
    }
}

pub(super) async fn of_many_requeues_one_wins(t: &Bundle) {
    for _ in 0..20 {
        let id = t.ended(super::bundle::To::Success, |_| {}).await;
        let answers = at_once((0..8).map(|_| {
            let store = Arc::clone(&t.store);
            let requeue = Operation::Requeue(Due::Now);
            async move { store.operate(id, &requeue).await.expect("operate answers") }
        }))
        .await;
        let done = answers
            .iter()
            .filter(|a| matches!(a, Operated::Done(_)))
            .count();
        assert_eq!((done, t.job(id).await.epoch), (1, 1), "{answers:?}");
    }
}

pub(super) async fn a_cancel_that_races_a_claim_is_not_forgotten(t: &Bundle) {
    for _ in 0..50 {
        let id = t.add(|_| {}).await;
        let grant = t.grant();
        let answers = at_once([true, false].into_iter().map(|cancel| {
            let store = Arc::clone(&t.store);
            async move {
                if cancel {
                    let done = store.operate(id, &Operation::Cancel).await;
                    done.expect("operate answers") == Operated::Done(State::Running)
                } else {
                    let claim = store.claim(&[id], &grant, &serves()).await;
                    matches!(claim.expect("claim answers")[0], Claim::Claimed(_))
                }
            }
        }))
        .await;
        assert_eq!(
            answers[0], answers[1],
            "flagged if it was claimed first, else ended"
        );
        if answers[1] {
            let end = error_after(secs(1));
            let finished = t.try_finish(id, grant.token, end).await;
            assert_eq!(finished, Finished::Applied(State::Cancelled));
        }
        assert_eq!(t.state(id).await, State::Cancelled);
    }
}
