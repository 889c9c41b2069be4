//! A store in an [`Arc`] is the same store, whether its concrete type is known or not.

use std::sync::Arc;

use async_trait::async_trait;

use super::{
    Document, DocumentCapabilities, DocumentStore, Filed, Inserted, JobStore, KeyRange, Replaced,
    Version,
};
use crate::{Clock, JobId, Result};

/// Implements [`JobStore`] for a type that wraps another store: each call goes to the inner one, none
/// is left to its default.
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
            #[$crate::__private::async_trait]
            impl<$($generics)*> $crate::JobStore for $store {
                fn capabilities(&self) -> $crate::store::StoreCapabilities {
                    { let $this = self; $inner }.capabilities()
                }

                async fn create(&self, jobs: &[$crate::job::NewJob]) -> $crate::Result<Vec<$crate::store::Created>> {
                    { let $this = self; $inner }.create(jobs).await
                }

                async fn claim(&self, ids: &[$crate::JobId], grant: &$crate::job::Grant, serves: &$crate::job::Serves) -> $crate::Result<Vec<$crate::store::Claim>> {
                    { let $this = self; $inner }.claim(ids, grant, serves).await
                }

                async fn claim_ready(&self, want: &[$crate::store::Want], grant: &$crate::job::Grant, serves: &$crate::job::Serves) -> $crate::Result<$crate::store::Claimed> {
                    { let $this = self; $inner }.claim_ready(want, grant, serves).await
                }

                async fn finish(&self, ends: &[$crate::store::Ending]) -> $crate::Result<Vec<$crate::store::Finished>> {
                    { let $this = self; $inner }.finish(ends).await
                }

                async fn finish_and_claim(
                    &self,
                    ends: &[$crate::store::Ending],
                    want: &[$crate::store::Want],
                    grant: &$crate::job::Grant,
                    serves: &$crate::job::Serves,
                ) -> $crate::Result<(Vec<$crate::store::Finished>, $crate::store::Claimed)> {
                    { let $this = self; $inner }.finish_and_claim(ends, want, grant, serves).await
                }

                async fn renew(&self, held: &[$crate::store::Renewal], lease: ::std::time::Duration) -> $crate::Result<Vec<$crate::store::Renewed>> {
                    { let $this = self; $inner }.renew(held, lease).await
                }

                async fn sweep(&self, limit: usize, policy: &$crate::job::transition::SweepPolicy) -> $crate::Result<Vec<$crate::store::Swept>> {
                    { let $this = self; $inner }.sweep(limit, policy).await
                }

                async fn operate(&self, id: $crate::JobId, operation: &$crate::job::transition::Operation) -> $crate::Result<$crate::job::transition::Operated> {
                    { let $this = self; $inner }.operate(id, operation).await
                }

                async fn operate_many(&self, operations: &[($crate::JobId, $crate::job::transition::Operation)]) -> $crate::Result<Vec<$crate::job::transition::Operated>> {
                    { let $this = self; $inner }.operate_many(operations).await
                }

                async fn get(&self, ids: &[$crate::JobId]) -> $crate::Result<Vec<Option<$crate::Job>>> {
                    { let $this = self; $inner }.get(ids).await
                }

                async fn list(&self, filter: &$crate::store::Filter, slice: &$crate::store::Slice) -> $crate::Result<$crate::store::Listed> {
                    { let $this = self; $inner }.list(filter, slice).await
                }

                async fn counts(&self) -> $crate::Result<Vec<$crate::store::QueueCounts>> {
                    { let $this = self; $inner }.counts().await
                }

                async fn name_worker(&self, owner: $crate::job::Owner, name: &str) -> $crate::Result<()> {
                    { let $this = self; $inner }.name_worker(owner, name).await
                }

                async fn worker_names(&self, owners: &[$crate::job::Owner]) -> $crate::Result<Vec<Option<String>>> {
                    { let $this = self; $inner }.worker_names(owners).await
                }

                async fn purge(&self, limit: usize) -> $crate::Result<usize> {
                    { let $this = self; $inner }.purge(limit).await
                }

                async fn now(&self) -> $crate::Result<$crate::Timestamp> {
                    { let $this = self; $inner }.now().await
                }

                fn transactions(&self) -> Option<&dyn $crate::store::InTransactions> {
                    { let $this = self; $inner }.transactions()
                }

                async fn wait_ready(&self, queues: &[::std::sync::Arc<str>]) -> $crate::Result<()> {
                    { let $this = self; $inner }.wait_ready(queues).await
                }

                async fn wait_cancelled(&self) -> $crate::Result<()> {
                    { let $this = self; $inner }.wait_cancelled().await
                }

                async fn cancelled(&self) -> $crate::Result<Option<Vec<$crate::JobId>>> {
                    { let $this = self; $inner }.cancelled().await
                }

                async fn wait_ended(&self, id: $crate::JobId) -> $crate::Result<()> {
                    { let $this = self; $inner }.wait_ended(id).await
                }
            }
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
