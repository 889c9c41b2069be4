//! `claim_ready`, called by several callers at once.

use std::{collections::BTreeSet, sync::Arc};

use bgjob::{
    job::{Grant, State, Token},
    store::{Ending, Finished},
};

use super::bundle::{Bundle, QUEUE, claimed_ids, plain, serves, success, want};
use crate::together::at_once;

pub(super) async fn eight_claimers_share_a_thousand_jobs(t: &Bundle) {
    t.add_all(&plain(1000)).await;
    let answers = at_once((0..8).map(|_| {
        let (store, grant) = (Arc::clone(&t.store), t.grant());
        async move {
            let mut got = Vec::new();
            loop {
                let grant = Grant::new(Token::random(), grant.owner, grant.lease);
                let wants = [want(QUEUE, 17)];
                let claimed = store.claim_ready(&wants, &grant, &serves()).await;
                let claimed = claimed.expect("claim_ready answers").jobs;
                if claimed.is_empty() {
                    return got;
                }
                got.extend(claimed_ids(&claimed));
            }
        }
    }))
    .await;
    let all = answers.concat();
    let each: BTreeSet<_> = all.iter().collect();
    assert_eq!(
        (all.len(), each.len()),
        (1000, 1000),
        "each job goes to exactly one of them"
    );
    assert_eq!(t.counts(QUEUE).await, [(State::Running, 1000)]);
}

pub(super) async fn claims_by_id_and_of_what_is_ready_share_too(t: &Bundle) {
    let jobs = plain(200);
    t.add_all(&jobs).await;
    let ids = super::bundle::ids(&jobs);
    let answers = at_once((0..4).map(|n| {
        let (store, grant, ids) = (Arc::clone(&t.store), t.grant(), ids.clone());
        async move {
            if n % 2 == 0 {
                let wants = [want(QUEUE, 150)];
                let claimed = store.claim_ready(&wants, &grant, &serves()).await;
                claimed_ids(&claimed.expect("claim_ready answers").jobs)
            } else {
                let claims = store
                    .claim(&ids, &grant, &serves())
                    .await
                    .expect("claim answers");
                let won = claims.into_iter().filter_map(|claim| match claim {
                    bgjob::store::Claim::Claimed(job) => Some(job.id),
                    _ => None,
                });
                won.collect()
            }
        }
    }))
    .await;
    let all = answers.concat();
    let each: BTreeSet<_> = all.iter().collect();
    assert_eq!(all.len(), each.len(), "no job has two holders");
}

pub(super) async fn creators_and_workers_together_lose_nothing(t: &Bundle) {
    let done = at_once((0..6).map(|n| {
        let (store, grant) = (Arc::clone(&t.store), t.grant());
        async move {
            if n < 3 {
                for _ in 0..10 {
                    store.create(&plain(10)).await.expect("create answers");
                }
                return 0;
            }
            let mut done = 0;
            // Enough rounds to claim some of the jobs; the rest are finished below.
            for _ in 0..30 {
                let grant = Grant::new(Token::random(), grant.owner, grant.lease);
                let wants = [want(QUEUE, 7)];
                let claimed = store.claim_ready(&wants, &grant, &serves()).await;
                let end = |job: bgjob::job::ClaimedJob| Ending::new(job.id, job.token, success());
                let claimed = claimed.expect("claim_ready answers").jobs;
                let ends: Vec<_> = claimed.into_iter().map(end).collect();
                let finished = store.finish(&ends).await.expect("finish answers");
                assert!(!finished.contains(&Finished::Lost), "nobody else had them");
                done += finished.len();
                tokio::task::yield_now().await;
            }
            done
        }
    }))
    .await;
    let mut done: usize = done.iter().sum();
    for job in t.ready(1000).await {
        t.finish(&job, success()).await;
        done += 1;
    }
    assert_eq!(done, 300, "every job ran once");
    assert_eq!(t.counts(QUEUE).await, [(State::Succeeded, 300)]);
}
