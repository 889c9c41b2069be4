//! [`MemoryDocuments`]: the smallest document store.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;

use crate::{
    Clock, JobId, Result,
    store::{
        ClockSource, Document, DocumentCapabilities, DocumentStore, Durability, Filed, Inserted,
        KeyRange, Replaced, Version,
    },
};

/// A document store in memory: shows what the contract asks for, and tests
/// [`Documents`](crate::store::Documents).
///
/// Each call lets other tasks go first, as a store at the other end of a connection would, so that
/// tests see calls interleave.
///
/// ```
/// use std::sync::Arc;
/// use bgjob::{store::Documents, testing::{ManualClock, MemoryDocuments}};
///
/// let store = Documents::new(MemoryDocuments::new(Arc::new(ManualClock::new())));
/// ```
#[derive(Debug)]
pub struct MemoryDocuments {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    documents: BTreeMap<JobId, Document>,
    keys: BTreeSet<Filed>,
    /// Of all documents together, so that none ever has the same version twice.
    versions: u64,
}

impl MemoryDocuments {
    /// An empty one that goes by this clock.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            state: Mutex::default(),
        }
    }

    async fn state(&self) -> MutexGuard<'_, State> {
        tokio::task::yield_now().await;
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn put(&mut self, document: &Document) {
        self.remove(document.id);
        self.versions += 1;
        let version = Version(self.versions.to_be_bytes().to_vec());
        self.keys
            .extend(document.keys.iter().map(|key| (key.clone(), document.id)));
        let document = Document {
            version,
            ..document.clone()
        };
        self.documents.insert(document.id, document);
    }

    fn remove(&mut self, id: JobId) {
        for key in self
            .documents
            .remove(&id)
            .into_iter()
            .flat_map(|old| old.keys)
        {
            self.keys.remove(&(key, id));
        }
    }

    fn is_at(&self, id: JobId, version: &Version) -> bool {
        self.documents
            .get(&id)
            .is_some_and(|document| document.version == *version)
    }
}

#[async_trait]
impl DocumentStore for MemoryDocuments {
    fn capabilities(&self) -> DocumentCapabilities {
        DocumentCapabilities {
            clock: ClockSource::Store,
            shared: false,
            ..DocumentCapabilities::new("memory documents", Durability::Volatile)
        }
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock)
    }

    async fn insert(&self, documents: &[Document]) -> Result<Vec<Inserted>> {
        let mut state = self.state().await;
        let insert = |document: &Document| {
            if state.documents.contains_key(&document.id) {
                return Inserted::Taken;
            }
            state.put(document);
            Inserted::Inserted
        };
        Ok(documents.iter().map(insert).collect())
    }

    async fn get(&self, ids: &[JobId]) -> Result<Vec<Option<Document>>> {
        let state = self.state().await;
        Ok(ids
            .iter()
            .map(|id| state.documents.get(id).cloned())
            .collect())
    }

    async fn replace(&self, documents: &[Document]) -> Result<Vec<Replaced>> {
        let mut state = self.state().await;
        let replace = |document: &Document| {
            if !state.is_at(document.id, &document.version) {
                return Replaced::Conflict;
            }
            state.put(document);
            Replaced::Replaced
        };
        Ok(documents.iter().map(replace).collect())
    }

    async fn delete(&self, documents: &[(JobId, Version)]) -> Result<Vec<Replaced>> {
        let mut state = self.state().await;
        let delete = |(id, version): &(JobId, Version)| {
            if !state.is_at(*id, version) {
                return Replaced::Conflict;
            }
            state.remove(*id);
            Replaced::Replaced
        };
        Ok(documents.iter().map(delete).collect())
    }

    async fn scan(
        &self,
        range: &KeyRange,
        after: Option<&Filed>,
        limit: usize,
    ) -> Result<Vec<Filed>> {
        Ok(range.page(&self.state().await.keys, after, limit))
    }

    async fn list(&self, after: Option<JobId>, limit: usize) -> Result<Vec<Document>> {
        let state = self.state().await;
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let rest = state.documents.range((from, Bound::Unbounded));
        Ok(rest
            .take(limit)
            .map(|(_, document)| document.clone())
            .collect())
    }
}
