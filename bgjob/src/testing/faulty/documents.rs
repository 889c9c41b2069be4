//! [`Faulty`] as a [`DocumentStore`].

use std::sync::Arc;

use async_trait::async_trait;

use super::{Call, Faults, Faulty, store::faulty, suffer};
use crate::{
    Clock, JobId, Result, Timestamp,
    store::{
        Document, DocumentCapabilities, DocumentStore, Filed, Inserted, KeyRange, Replaced, Version,
    },
};

/// The clock of the wrapped store, shifted as the faults say.
#[derive(Debug)]
struct Off {
    clock: Arc<dyn Clock>,
    faults: Faults,
}

impl Clock for Off {
    fn now(&self) -> Timestamp {
        self.faults.clock(self.clock.now())
    }
}

#[async_trait]
impl<D: DocumentStore + 'static> DocumentStore for Faulty<D> {
    fn capabilities(&self) -> DocumentCapabilities {
        self.inner.capabilities()
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(Off {
            clock: self.inner.clock(),
            faults: self.faults.clone(),
        })
    }

    async fn insert(&self, documents: &[Document]) -> Result<Vec<Inserted>> {
        faulty!(self, Insert, [documents], insert(&documents))
    }

    async fn get(&self, ids: &[JobId]) -> Result<Vec<Option<Document>>> {
        faulty!(self, GetDocuments, [ids], get(&ids))
    }

    async fn replace(&self, documents: &[Document]) -> Result<Vec<Replaced>> {
        faulty!(self, Replace, [documents], replace(&documents))
    }

    async fn delete(&self, documents: &[(JobId, Version)]) -> Result<Vec<Replaced>> {
        faulty!(self, Delete, [documents], delete(&documents))
    }

    async fn scan(
        &self,
        range: &KeyRange,
        after: Option<&Filed>,
        limit: usize,
    ) -> Result<Vec<Filed>> {
        let after = after.cloned();
        faulty!(
            self,
            Scan,
            [range, after],
            scan(&range, after.as_ref(), limit)
        )
    }

    async fn list(&self, after: Option<JobId>, limit: usize) -> Result<Vec<Document>> {
        faulty!(self, ListDocuments, [], list(after, limit))
    }

    fn place(&self, id: JobId) -> String {
        self.inner.place(id)
    }
}
