//! [`Op`] and [`Answer`]: one call on a store, and what it returned.

use std::time::Duration;

use bgjob::{
    Job, JobId, JobStore, Result, Timestamp,
    job::{
        Grant, NewJob, Serves,
        transition::{Operated, Operation, SweepPolicy},
    },
    store::{
        Claim, Claimed, Created, Ending, Filter, Finished, Listed, QueueCounts, Renewal, Renewed,
        Slice, Swept, Want,
    },
};

/// One call with all its arguments.
#[derive(Debug, Clone)]
pub(super) enum Op {
    Create(Vec<NewJob>),
    Claim {
        ids: Vec<JobId>,
        by: Claimer,
    },
    ClaimReady {
        want: Vec<Want>,
        by: Claimer,
    },
    Finish(Vec<Ending>),
    FinishAndClaim {
        ends: Vec<Ending>,
        want: Vec<Want>,
        by: Claimer,
    },
    Renew {
        held: Vec<Renewal>,
        lease: Duration,
    },
    Sweep {
        limit: usize,
        policy: SweepPolicy,
    },
    Operate(Vec<(JobId, Operation)>),
    Purge {
        limit: usize,
        /// The jobs to look for afterwards, to learn which ones were deleted.
        look: Vec<JobId>,
    },
    Get(Vec<JobId>),
    List {
        filter: Filter,
        slice: Slice,
    },
    Counts,
    /// Not a call: lets time pass.
    Advance(Duration),
}

/// Who claims, and which jobs the claimer can run.
#[derive(Debug, Clone)]
pub(super) struct Claimer {
    pub(super) grant: Grant,
    pub(super) serves: Serves,
}

/// A store's answer.
#[derive(Debug, Clone)]
pub(super) enum Answer {
    Created(Vec<Created>),
    Claims(Vec<Claim>),
    Claimed(Claimed),
    Finished(Vec<Finished>),
    Both(Vec<Finished>, Claimed),
    Renewed(Vec<Renewed>),
    Swept(Vec<Swept>),
    Operated(Vec<Operated>),
    /// How many were deleted, and which of the jobs that `look` names are still there.
    Purged(usize, Vec<JobId>),
    Got(Vec<Option<Job>>),
    Listed(Listed),
    Counts(Vec<QueueCounts>),
    Time(Timestamp),
}

impl Op {
    /// Makes the call. The caller has to move the time.
    pub(super) async fn call(&self, store: &dyn JobStore) -> Result<Answer> {
        Ok(match self {
            Self::Create(jobs) => Answer::Created(store.create(jobs).await?),
            Self::Claim { ids, by } => {
                Answer::Claims(store.claim(ids, &by.grant, &by.serves).await?)
            }
            Self::ClaimReady { want, by } => {
                Answer::Claimed(store.claim_ready(want, &by.grant, &by.serves).await?)
            }
            Self::Finish(ends) => Answer::Finished(store.finish(ends).await?),
            Self::FinishAndClaim { ends, want, by } => {
                let answers = store.finish_and_claim(ends, want, &by.grant, &by.serves);
                let (finished, claimed) = answers.await?;
                Answer::Both(finished, claimed)
            }
            Self::Renew { held, lease } => Answer::Renewed(store.renew(held, *lease).await?),
            Self::Sweep { limit, policy } => Answer::Swept(store.sweep(*limit, policy).await?),
            Self::Operate(each) => Answer::Operated(match each.as_slice() {
                [(id, operation)] => vec![store.operate(*id, operation).await?],
                each => store.operate_many(each).await?,
            }),
            Self::Purge { limit, look } => {
                let purged = store.purge(*limit).await?;
                let mut left = Vec::new();
                if !look.is_empty() {
                    left.extend(store.get(look).await?.into_iter().flatten());
                }
                Answer::Purged(purged, left.iter().map(|job| job.id).collect())
            }
            Self::Get(ids) => Answer::Got(store.get(ids).await?),
            Self::List { filter, slice } => Answer::Listed(store.list(filter, slice).await?),
            Self::Counts => Answer::Counts(store.counts().await?),
            Self::Advance(_) => Answer::Time(store.now().await?),
        })
    }
}
