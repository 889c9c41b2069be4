//! [`FaultyStore`]: a memory store that fails when told to.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bgjob::{
    Job, JobId, JobStore, Result, Timestamp, Want,
    job::{
        Grant, NewJob, Serves,
        transition::{Operated, Operation, SweepPolicy},
    },
    providers::memory::MemoryStore,
    store::{
        Claim, Claimed, Created, Ending, Filter, Finished, Held, QueueCount, Renewed,
        StoreCapabilities, Swept,
    },
};

use super::{Call, Faults};

#[derive(Debug, Clone)]
pub(crate) struct FaultyStore {
    inner: Arc<MemoryStore>,
    pub(crate) faults: Faults,
}

impl FaultyStore {
    pub(crate) fn new(inner: MemoryStore) -> Self {
        Self {
            inner: Arc::new(inner),
            faults: Faults::none(),
        }
    }

    /// The store behind it, which never fails.
    pub(crate) fn inner(&self) -> &MemoryStore {
        &self.inner
    }
}

#[async_trait]
impl JobStore for FaultyStore {
    fn capabilities(&self) -> StoreCapabilities {
        self.inner.capabilities()
    }

    async fn create(&self, jobs: &[NewJob]) -> Result<Vec<Created>> {
        self.faults
            .call(Call::Create, self.inner.create(jobs))
            .await
    }

    async fn claim(&self, ids: &[JobId], grant: &Grant, serves: &Serves) -> Result<Vec<Claim>> {
        let done = self.inner.claim(ids, grant, serves);
        self.faults.call(Call::Claim, done).await
    }

    async fn claim_ready(&self, want: &[Want], grant: &Grant, serves: &Serves) -> Result<Claimed> {
        let done = self.inner.claim_ready(want, grant, serves);
        self.faults.call(Call::ClaimReady, done).await
    }

    async fn finish(&self, ends: &[Ending]) -> Result<Vec<Finished>> {
        self.faults
            .call(Call::Finish, self.inner.finish(ends))
            .await
    }

    async fn finish_and_claim(
        &self,
        ends: &[Ending],
        want: &[Want],
        grant: &Grant,
        serves: &Serves,
    ) -> Result<(Vec<Finished>, Claimed)> {
        let done = self.inner.finish_and_claim(ends, want, grant, serves);
        self.faults.call(Call::FinishAndClaim, done).await
    }

    async fn renew(&self, held: &[Held], lease: Duration) -> Result<Vec<Renewed>> {
        self.faults
            .call(Call::Renew, self.inner.renew(held, lease))
            .await
    }

    async fn sweep(&self, limit: usize, policy: &SweepPolicy) -> Result<Vec<Swept>> {
        self.faults
            .call(Call::Sweep, self.inner.sweep(limit, policy))
            .await
    }

    async fn operate(&self, id: JobId, operation: &Operation) -> Result<Operated> {
        self.faults
            .call(Call::Operate, self.inner.operate(id, operation))
            .await
    }

    async fn get(&self, ids: &[JobId]) -> Result<Vec<Option<Job>>> {
        self.faults.call(Call::Look, self.inner.get(ids)).await
    }

    async fn list(&self, filter: &Filter, after: Option<JobId>, limit: usize) -> Result<Vec<Job>> {
        self.faults
            .call(Call::Look, self.inner.list(filter, after, limit))
            .await
    }

    async fn counts(&self) -> Result<Vec<QueueCount>> {
        self.faults.call(Call::Look, self.inner.counts()).await
    }

    async fn purge(&self, limit: usize) -> Result<usize> {
        self.faults.call(Call::Purge, self.inner.purge(limit)).await
    }

    async fn now(&self) -> Result<Timestamp> {
        self.inner.now().await
    }

    async fn wait_ready(&self, queues: &[Arc<str>]) -> Result<()> {
        self.faults
            .call(Call::Wait, self.inner.wait_ready(queues))
            .await
    }

    async fn wait_ended(&self, id: JobId) -> Result<()> {
        self.faults
            .call(Call::Wait, self.inner.wait_ended(id))
            .await
    }
}
