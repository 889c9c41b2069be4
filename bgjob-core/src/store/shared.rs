//! A store in an [`Arc`] is the same store, whether its concrete type is known or not.

use std::sync::Arc;

use async_trait::async_trait;

use super::{
    Document, DocumentCapabilities, DocumentStore, Filed, Inserted, JobStore, KeyRange, Replaced,
    Version,
};
use crate::{Clock, JobId, Result};

/// Implements [`JobStore`] for a type that wraps another store: each call goes to the inner one,
/// none is left to its default.
///
/// ```
/// use bgjob::{JobStore, providers::memory::MemoryStore, toolkit::forward_job_store};
///
/// #[derive(Debug)]
/// struct Mine(MemoryStore);
///
/// forward_job_store!([] Mine, |mine| &mine.0);
///
/// assert_eq!(Mine(MemoryStore::new()).capabilities().name, "memory");
/// ```
///
/// Generics of the implementation stand in the brackets, as in
/// `forward_job_store!([S: JobStore] Loud<S>, |loud| &loud.inner)`.
#[macro_export]
macro_rules! forward_job_store {
    ([$($generics:tt)*] $store:ty, |$this:ident| $inner:expr) => {
        const _: () = {
            use $crate::__private::contract as b;

            #[b::async_trait]
            impl<$($generics)*> b::JobStore for $store {
                fn capabilities(&self) -> b::StoreCapabilities {
                    { let $this = self; $inner }.capabilities()
                }

                async fn create(&self, jobs: &[b::NewJob]) -> b::Result<Vec<b::Created>> {
                    { let $this = self; $inner }.create(jobs).await
                }

                async fn claim(
                    &self,
                    ids: &[b::JobId],
                    grant: &b::Grant,
                    serves: &b::Serves,
                ) -> b::Result<Vec<b::Claim>> {
                    { let $this = self; $inner }.claim(ids, grant, serves).await
                }

                async fn claim_ready(
                    &self,
                    want: &[b::Want],
                    grant: &b::Grant,
                    serves: &b::Serves,
                ) -> b::Result<b::Claimed> {
                    { let $this = self; $inner }.claim_ready(want, grant, serves).await
                }

                async fn finish(&self, ends: &[b::Ending]) -> b::Result<Vec<b::Finished>> {
                    { let $this = self; $inner }.finish(ends).await
                }

                async fn finish_and_claim(
                    &self,
                    ends: &[b::Ending],
                    want: &[b::Want],
                    grant: &b::Grant,
                    serves: &b::Serves,
                ) -> b::Result<(Vec<b::Finished>, b::Claimed)> {
                    { let $this = self; $inner }.finish_and_claim(ends, want, grant, serves).await
                }

                async fn renew(
                    &self,
                    held: &[b::Renewal],
                    lease: b::Duration,
                ) -> b::Result<Vec<b::Renewed>> {
                    { let $this = self; $inner }.renew(held, lease).await
                }

                async fn sweep(
                    &self,
                    limit: usize,
                    policy: &b::SweepPolicy,
                ) -> b::Result<Vec<b::Swept>> {
                    { let $this = self; $inner }.sweep(limit, policy).await
                }

                async fn operate(
                    &self,
                    id: b::JobId,
                    operation: &b::Operation,
                ) -> b::Result<b::Operated> {
                    { let $this = self; $inner }.operate(id, operation).await
                }

                async fn operate_many(
                    &self,
                    operations: &[(b::JobId, b::Operation)],
                ) -> b::Result<Vec<b::Operated>> {
                    { let $this = self; $inner }.operate_many(operations).await
                }

                async fn get(&self, ids: &[b::JobId]) -> b::Result<Vec<Option<b::Job>>> {
                    { let $this = self; $inner }.get(ids).await
                }

                async fn list(&self, filter: &b::Filter, slice: &b::Slice) -> b::Result<b::Listed> {
                    { let $this = self; $inner }.list(filter, slice).await
                }

                async fn counts(&self) -> b::Result<Vec<b::QueueCounts>> {
                    { let $this = self; $inner }.counts().await
                }

                async fn name_worker(&self, owner: b::Owner, name: &str) -> b::Result<()> {
                    { let $this = self; $inner }.name_worker(owner, name).await
                }

                async fn worker_names(
                    &self,
                    owners: &[b::Owner],
                ) -> b::Result<Vec<Option<String>>> {
                    { let $this = self; $inner }.worker_names(owners).await
                }

                async fn purge(&self, limit: usize) -> b::Result<usize> {
                    { let $this = self; $inner }.purge(limit).await
                }

                async fn now(&self) -> b::Result<b::Timestamp> {
                    { let $this = self; $inner }.now().await
                }

                fn transactions(&self) -> Option<&dyn b::InTransactions> {
                    { let $this = self; $inner }.transactions()
                }

                async fn wait_ready(&self, queues: &[b::Arc<str>]) -> b::Result<()> {
                    { let $this = self; $inner }.wait_ready(queues).await
                }

                async fn wait_cancelled(&self) -> b::Result<()> {
                    { let $this = self; $inner }.wait_cancelled().await
                }

                async fn cancelled(&self) -> b::Result<Option<Vec<b::JobId>>> {
                    { let $this = self; $inner }.cancelled().await
                }

                async fn wait_ended(&self, id: b::JobId) -> b::Result<()> {
                    { let $this = self; $inner }.wait_ended(id).await
                }
            }
        };
    };
}

forward_job_store!([S: JobStore + ?Sized] Arc<S>, |store| &**store);

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
