//! A store in an [`Arc`] is the same store, whether its concrete type is known or not.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;

use super::{
    Claim, Claimed, Created, Document, DocumentCapabilities, DocumentStore, Ending, Filed, Filter,
    Finished, Held, InTransactions, Inserted, JobStore, KeyRange, Listed, QueueCounts, Renewed,
    Replaced, Slice, StoreCapabilities, Swept, Version, Want,
};
use crate::{
    Clock, Job, JobId, Result, Timestamp,
    job::{
        Grant, NewJob, Owner, Serves,
        transition::{Operated, Operation, SweepPolicy},
    },
};

#[async_trait]
impl<S: JobStore + ?Sized> JobStore for Arc<S> {
    fn capabilities(&self) -> StoreCapabilities {
        (**self).capabilities()
    }

    async fn create(&self, jobs: &[NewJob]) -> Result<Vec<Created>> {
        (**self).create(jobs).await
    }

    async fn claim(&self, ids: &[JobId], grant: &Grant, serves: &Serves) -> Result<Vec<Claim>> {
        (**self).claim(ids, grant, serves).await
    }

    async fn claim_ready(&self, want: &[Want], grant: &Grant, serves: &Serves) -> Result<Claimed> {
        (**self).claim_ready(want, grant, serves).await
    }

    async fn finish(&self, ends: &[Ending]) -> Result<Vec<Finished>> {
        (**self).finish(ends).await
    }

    async fn finish_and_claim(
        &self,
        ends: &[Ending],
        want: &[Want],
        grant: &Grant,
        serves: &Serves,
    ) -> Result<(Vec<Finished>, Claimed)> {
        (**self).finish_and_claim(ends, want, grant, serves).await
    }

    async fn renew(&self, held: &[Held], lease: Duration) -> Result<Vec<Renewed>> {
        (**self).renew(held, lease).await
    }

    async fn sweep(&self, limit: usize, policy: &SweepPolicy) -> Result<Vec<Swept>> {
        (**self).sweep(limit, policy).await
    }

    async fn operate(&self, id: JobId, operation: &Operation) -> Result<Operated> {
        (**self).operate(id, operation).await
    }

    async fn operate_many(&self, operations: &[(JobId, Operation)]) -> Result<Vec<Operated>> {
        (**self).operate_many(operations).await
    }

    async fn get(&self, ids: &[JobId]) -> Result<Vec<Option<Job>>> {
        (**self).get(ids).await
    }

    async fn list(&self, filter: &Filter, slice: &Slice) -> Result<Listed> {
        (**self).list(filter, slice).await
    }

    async fn counts(&self) -> Result<Vec<QueueCounts>> {
        (**self).counts().await
    }

    async fn name_worker(&self, owner: Owner, name: &str) -> Result<()> {
        (**self).name_worker(owner, name).await
    }

    async fn worker_names(&self, owners: &[Owner]) -> Result<Vec<Option<String>>> {
        (**self).worker_names(owners).await
    }

    async fn purge(&self, limit: usize) -> Result<usize> {
        (**self).purge(limit).await
    }

    async fn now(&self) -> Result<Timestamp> {
        (**self).now().await
    }

    fn transactions(&self) -> Option<&dyn InTransactions> {
        (**self).transactions()
    }

    async fn wait_ready(&self, queues: &[Arc<str>]) -> Result<()> {
        (**self).wait_ready(queues).await
    }

    async fn wait_cancelled(&self) -> Result<()> {
        (**self).wait_cancelled().await
    }

    async fn cancelled(&self) -> Result<Option<Vec<JobId>>> {
        (**self).cancelled().await
    }

    async fn wait_ended(&self, id: JobId) -> Result<()> {
        (**self).wait_ended(id).await
    }
}

#[async_trait]
impl<D: DocumentStore + ?Sized> DocumentStore for Arc<D> {
    fn capabilities(&self) -> DocumentCapabilities {
        (**self).capabilities()
    }

    fn clock(&self) -> Arc<dyn Clock> {
        (**self).clock()
    }

    async fn insert(&self, documents: &[Document]) -> Result<Vec<Inserted>> {
        (**self).insert(documents).await
    }

    async fn get(&self, ids: &[JobId]) -> Result<Vec<Option<Document>>> {
        (**self).get(ids).await
    }

    async fn replace(&self, documents: &[Document]) -> Result<Vec<Replaced>> {
        (**self).replace(documents).await
    }

    async fn delete(&self, documents: &[(JobId, Version)]) -> Result<Vec<Replaced>> {
        (**self).delete(documents).await
    }

    async fn scan(
        &self,
        range: &KeyRange,
        after: Option<&Filed>,
        limit: usize,
    ) -> Result<Vec<Filed>> {
        (**self).scan(range, after, limit).await
    }

    async fn list(&self, after: Option<JobId>, limit: usize) -> Result<Vec<Document>> {
        (**self).list(after, limit).await
    }

    fn place(&self, id: JobId) -> String {
        (**self).place(id)
    }
}
