//! [`Faulty`] as a [`JobStore`].

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;

use super::{Call, Faulty, suffer};
use crate::{
    Job, JobId, JobStore, Result, Timestamp, Want,
    job::{
        Grant, NewJob, Owner, Serves,
        transition::{Operated, Operation, SweepPolicy},
    },
    store::{
        Claim, Claimed, Created, Ending, Filter, Finished, InTransactions, Listed, QueueCounts,
        Renewal, Renewed, Slice, StoreCapabilities, Swept,
    },
};

/// `self`, the call's name, its arguments and the method. Each execution of the call gets its own
/// copies of the arguments.
macro_rules! faulty {
    ($self:ident, $call:ident, [$($arg:ident),*], $method:ident($($pass:expr),*)) => {{
        $(let $arg = $arg.to_owned();)*
        let inner = Arc::clone(&$self.inner);
        suffer($self.faults.next(Call::$call), move || {
            $(let $arg = $arg.clone();)*
            let inner = Arc::clone(&inner);
            Box::pin(async move { inner.$method($($pass),*).await })
        })
        .await
    }};
}
pub(super) use faulty;

#[async_trait]
impl<S: JobStore + 'static> JobStore for Faulty<S> {
    fn capabilities(&self) -> StoreCapabilities {
        let declared = self.declared.clone();
        declared.unwrap_or_else(|| self.inner.capabilities())
    }

    async fn create(&self, jobs: &[NewJob]) -> Result<Vec<Created>> {
        faulty!(self, Create, [jobs], create(&jobs))
    }

    async fn claim(&self, ids: &[JobId], grant: &Grant, serves: &Serves) -> Result<Vec<Claim>> {
        faulty!(
            self,
            Claim,
            [ids, grant, serves],
            claim(&ids, &grant, &serves)
        )
    }

    async fn claim_ready(&self, want: &[Want], grant: &Grant, serves: &Serves) -> Result<Claimed> {
        faulty!(
            self,
            ClaimReady,
            [want, grant, serves],
            claim_ready(&want, &grant, &serves)
        )
    }

    async fn finish(&self, ends: &[Ending]) -> Result<Vec<Finished>> {
        faulty!(self, Finish, [ends], finish(&ends))
    }

    async fn finish_and_claim(
        &self,
        ends: &[Ending],
        want: &[Want],
        grant: &Grant,
        serves: &Serves,
    ) -> Result<(Vec<Finished>, Claimed)> {
        faulty!(
            self,
            FinishAndClaim,
            [ends, want, grant, serves],
            finish_and_claim(&ends, &want, &grant, &serves)
        )
    }

    async fn renew(&self, held: &[Renewal], lease: Duration) -> Result<Vec<Renewed>> {
        faulty!(self, Renew, [held], renew(&held, lease))
    }

    async fn sweep(&self, limit: usize, policy: &SweepPolicy) -> Result<Vec<Swept>> {
        faulty!(self, Sweep, [policy], sweep(limit, &policy))
    }

    async fn operate(&self, id: JobId, operation: &Operation) -> Result<Operated> {
        faulty!(self, Operate, [operation], operate(id, &operation))
    }

    async fn operate_many(&self, operations: &[(JobId, Operation)]) -> Result<Vec<Operated>> {
        faulty!(self, Operate, [operations], operate_many(&operations))
    }

    async fn get(&self, ids: &[JobId]) -> Result<Vec<Option<Job>>> {
        faulty!(self, Get, [ids], get(&ids))
    }

    async fn list(&self, filter: &Filter, slice: &Slice) -> Result<Listed> {
        faulty!(self, List, [filter, slice], list(&filter, &slice))
    }

    async fn counts(&self) -> Result<Vec<QueueCounts>> {
        faulty!(self, Counts, [], counts())
    }

    async fn name_worker(&self, owner: Owner, name: &str) -> Result<()> {
        let name = name.to_owned();
        faulty!(self, NameWorker, [name], name_worker(owner, &name))
    }

    async fn worker_names(&self, owners: &[Owner]) -> Result<Vec<Option<String>>> {
        faulty!(self, WorkerNames, [owners], worker_names(&owners))
    }

    async fn purge(&self, limit: usize) -> Result<usize> {
        faulty!(self, Purge, [], purge(limit))
    }

    async fn now(&self) -> Result<Timestamp> {
        faulty!(self, Now, [], now())
    }

    /// Statements are not calls: they pass without faults.
    fn transactions(&self) -> Option<&dyn InTransactions> {
        self.inner.transactions()
    }

    async fn wait_ready(&self, queues: &[Arc<str>]) -> Result<()> {
        faulty!(self, WaitReady, [queues], wait_ready(&queues))
    }

    async fn wait_cancelled(&self) -> Result<()> {
        faulty!(self, WaitCancelled, [], wait_cancelled())
    }

    async fn cancelled(&self) -> Result<Option<Vec<JobId>>> {
        faulty!(self, Cancelled, [], cancelled())
    }

    async fn wait_ended(&self, id: JobId) -> Result<()> {
        faulty!(self, WaitEnded, [], wait_ended(id))
    }
}
