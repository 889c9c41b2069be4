//! [`Witness`]: stands between all processes and the one store, and sees every change.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use async_trait::async_trait;

use super::{rules::Cause, truth::Truth};
use crate::{
    Job, JobId, JobStore, Result, Timestamp, Want,
    job::{
        ClaimedJob, Grant, NewJob, Owner, Serves,
        transition::{Operated, Operation, SweepPolicy},
    },
    store::{
        Claim, Claimed, Created, Ending, Filter, Finished, InTransactions, Listed, QueueCounts,
        Renewal, Renewed, Slice, StoreCapabilities, Swept,
    },
};

/// A store that checks that the store below keeps the protocol's rules. The store below must answer
/// at once, so that nothing happens between a call and the check of what it did.
#[derive(Debug)]
pub(super) struct Witness<S> {
    store: S,
    truth: Arc<Truth>,
}

impl<S: JobStore> Witness<S> {
    pub(super) fn new(store: S, truth: Arc<Truth>) -> Self {
        Self { store, truth }
    }

    /// Checks what a call did to these jobs.
    async fn look(&self, ids: &[JobId], cause: impl Fn(usize) -> Cause) -> Result<()> {
        if ids.is_empty() {
            return Ok(());
        }
        let now = self.store.now().await?;
        let jobs = self.store.get(ids).await?;
        for (nth, (id, job)) in ids.iter().zip(jobs).enumerate() {
            self.truth.change(*id, job, &cause(nth), now);
        }
        Ok(())
    }

    /// Checks the jobs that the store has just granted.
    async fn look_at_claims(&self, jobs: &[ClaimedJob], grant: &Grant) -> Result<()> {
        let ids: Vec<_> = jobs.iter().map(|job| job.id).collect();
        self.look(&ids, |_| Cause::Claim(grant.token)).await
    }
}

#[async_trait]
impl<S: JobStore> JobStore for Witness<S> {
    fn capabilities(&self) -> StoreCapabilities {
        self.store.capabilities()
    }

    async fn create(&self, jobs: &[NewJob]) -> Result<Vec<Created>> {
        let answers = self.store.create(jobs).await?;
        let made = jobs.iter().zip(&answers);
        let made = made.filter(|(_, answer)| **answer == Created::Created);
        let ids: Vec<_> = made.map(|(job, _)| job.id).collect();
        self.look(&ids, |_| Cause::Create).await?;
        Ok(answers)
    }

    async fn claim(&self, ids: &[JobId], grant: &Grant, serves: &Serves) -> Result<Vec<Claim>> {
        let answers = self.store.claim(ids, grant, serves).await?;
        let jobs: Vec<_> = answers
            .iter()
            .filter_map(|answer| match answer {
                Claim::Claimed(job) => Some(job.clone()),
                _ => None,
            })
            .collect();
        self.look_at_claims(&jobs, grant).await?;
        Ok(answers)
    }

    async fn claim_ready(&self, want: &[Want], grant: &Grant, serves: &Serves) -> Result<Claimed> {
        let claimed = self.store.claim_ready(want, grant, serves).await?;
        self.look_at_claims(&claimed.jobs, grant).await?;
        Ok(claimed)
    }

    async fn finish(&self, ends: &[Ending]) -> Result<Vec<Finished>> {
        let mut answers = Vec::with_capacity(ends.len());
        // One by one, because two ends may be of one job.
        for ending in ends {
            let answer = self.store.finish(std::slice::from_ref(ending)).await?[0];
            let cause = |_| Cause::Finish(ending.clone(), answer);
            self.look(&[ending.id], cause).await?;
            answers.push(answer);
        }
        Ok(answers)
    }

    async fn finish_and_claim(
        &self,
        ends: &[Ending],
        want: &[Want],
        grant: &Grant,
        serves: &Serves,
    ) -> Result<(Vec<Finished>, Claimed)> {
        // One after the other, so that both are checked: a job may end and be claimed at once.
        let finished = self.finish(ends).await?;
        Ok((finished, self.claim_ready(want, grant, serves).await?))
    }

    async fn renew(&self, held: &[Renewal], lease: Duration) -> Result<Vec<Renewed>> {
        let answers = self.store.renew(held, lease).await?;
        let ids: Vec<_> = held.iter().map(|held| held.id).collect();
        self.look(&ids, |_| Cause::Renew).await?;
        Ok(answers)
    }

    async fn sweep(&self, limit: usize, policy: &SweepPolicy) -> Result<Vec<Swept>> {
        let swept = self.store.sweep(limit, policy).await?;
        let ids: BTreeSet<_> = swept
            .iter()
            .map(|swept| match swept {
                Swept::Revoked { id, .. }
                | Swept::Expired { id, .. }
                | Swept::Unreadable { id } => *id,
                Swept::Touched(hint) => hint.id,
            })
            .collect();
        let ids: Vec<_> = ids.into_iter().collect();
        self.look(&ids, |_| Cause::Sweep).await?;
        Ok(swept)
    }

    async fn operate(&self, id: JobId, operation: &Operation) -> Result<Operated> {
        let operated = self.store.operate(id, operation).await?;
        let cause = |_| Cause::Operate(operation.clone());
        self.look(&[id], cause).await?;
        Ok(operated)
    }

    /// Operations of one job in a batch are made and checked one by one.
    async fn operate_many(&self, operations: &[(JobId, Operation)]) -> Result<Vec<Operated>> {
        let ids: Vec<_> = operations.iter().map(|(id, _)| *id).collect();
        if ids.iter().collect::<BTreeSet<_>>().len() < ids.len() {
            let mut answers = Vec::with_capacity(ids.len());
            for (id, operation) in operations {
                answers.push(self.operate(*id, operation).await?);
            }
            return Ok(answers);
        }
        let operated = self.store.operate_many(operations).await?;
        let cause = |nth: usize| Cause::Operate(operations[nth].1.clone());
        self.look(&ids, cause).await?;
        Ok(operated)
    }

    async fn get(&self, ids: &[JobId]) -> Result<Vec<Option<Job>>> {
        self.store.get(ids).await
    }

    async fn list(&self, filter: &Filter, slice: &Slice) -> Result<Listed> {
        self.store.list(filter, slice).await
    }

    async fn counts(&self) -> Result<Vec<QueueCounts>> {
        self.store.counts().await
    }

    async fn name_worker(&self, owner: Owner, name: &str) -> Result<()> {
        self.store.name_worker(owner, name).await
    }

    async fn worker_names(&self, owners: &[Owner]) -> Result<Vec<Option<String>>> {
        self.store.worker_names(owners).await
    }

    async fn purge(&self, limit: usize) -> Result<usize> {
        let purged = self.store.purge(limit).await?;
        if purged > 0 {
            let now = self.store.now().await?;
            let old = self.truth.purgeable(now);
            self.look(&old, |_| Cause::Purge).await?;
        }
        Ok(purged)
    }

    async fn now(&self) -> Result<Timestamp> {
        self.store.now().await
    }

    fn transactions(&self) -> Option<&dyn InTransactions> {
        self.store.transactions()
    }

    async fn wait_ready(&self, queues: &[Arc<str>]) -> Result<()> {
        self.store.wait_ready(queues).await
    }

    async fn wait_cancelled(&self) -> Result<()> {
        self.store.wait_cancelled().await
    }

    async fn cancelled(&self) -> Result<Option<Vec<JobId>>> {
        self.store.cancelled().await
    }

    async fn wait_ended(&self, id: JobId) -> Result<()> {
        self.store.wait_ended(id).await
    }
}
