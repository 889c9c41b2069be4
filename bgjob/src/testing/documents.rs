//! [`MemoryDocuments`]: the smallest document store.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard},
};

use async_trait::async_trait;

use crate::{
    Clock, JobId, Result,
    lock::Locked,
    store::{
        ClockSource, Document, DocumentCapabilities, DocumentStore, Durability, Filed, Inserted,
        KeyRange, Replaced, Version,
    },
};

/// A document store in memory. It shows what the contract asks for, and tests
/// [`Documents`](crate::store::Documents).
///
/// Each call first yields to other tasks, as a call to a remote store would, so that tests see
/// calls interleave.
///
/// ```
/// use std::sync::Arc;
/// use bgjob::{store::Documents, testing::{ManualClock, MemoryDocuments}};
///
/// let store = Documents::new(MemoryDocuments::new(Arc::new(ManualClock::new())));
/// ```
pub struct MemoryDocuments {
    clock: Arc<dyn Clock>,
    clock_source: ClockSource,
    shared: bool,
    state: Mutex<DocumentsState>,
    watch: Option<Box<Watch>>,
}

/// Called with each change, under the lock, so that no other change can come between.
type Watch = dyn Fn(JobId, Option<&Document>) + Send + Sync;

/// What [`MemoryDocuments`] held at one time.
#[derive(Debug, Clone)]
pub struct Snapshot {
    documents: BTreeMap<JobId, Document>,
    keys: BTreeSet<Filed>,
}

#[derive(Debug, Default)]
struct DocumentsState {
    documents: BTreeMap<JobId, Document>,
    keys: BTreeSet<Filed>,
    /// One counter for all documents, so that no two versions are ever equal.
    versions: u64,
}

impl MemoryDocuments {
    /// An empty store that goes by this clock.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            clock_source: ClockSource::Store,
            shared: false,
            state: Mutex::default(),
            watch: None,
        }
    }

    /// Makes the store one that several adapters share, as processes would. An adapter is not
    /// notified of what another one writes.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use bgjob::{store::Documents, testing::{ManualClock, MemoryDocuments}};
    ///
    /// let documents = MemoryDocuments::new(Arc::new(ManualClock::new())).shared();
    /// let documents = Arc::new(documents);
    /// let (one, other) = (Documents::new(Arc::clone(&documents)), Documents::new(documents));
    /// ```
    #[must_use]
    pub fn shared(mut self) -> Self {
        self.shared = true;
        self
    }

    /// A store that several adapters write to, each with a clock of this kind. `watch` sees each
    /// change.
    pub(super) fn watched(clock: Arc<dyn Clock>, source: ClockSource, watch: Box<Watch>) -> Self {
        Self {
            clock_source: source,
            watch: Some(watch),
            ..Self::new(clock).shared()
        }
    }

    /// A copy of all documents as they are now.
    pub fn snapshot(&self) -> Snapshot {
        let state = self.lock();
        Snapshot {
            documents: state.documents.clone(),
            keys: state.keys.clone(),
        }
    }

    /// Goes back to the documents of the snapshot, as a store does that is restored from a backup,
    /// or whose follower takes over without the last writes. Everything written since is lost.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use bgjob::{JobManager, store::Documents, testing::{ManualClock, MemoryDocuments}};
    ///
    /// # #[bgjob::job] async fn resize(image: u64) {}
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> bgjob::Result<()> {
    /// let documents = Arc::new(MemoryDocuments::new(Arc::new(ManualClock::new())));
    /// let jobs = JobManager::builder(Documents::new(Arc::clone(&documents))).build()?;
    /// let backup = documents.snapshot();
    /// resize::enqueue(&jobs, 7).await?;
    ///
    /// documents.restore(&backup);
    /// assert!(jobs.list().await?.jobs.is_empty());
    /// # Ok(()) }
    /// ```
    pub fn restore(&self, snapshot: &Snapshot) {
        let mut state = self.lock();
        // The version counter is not restored: if a version were given out twice, two states of a
        // document would look the same.
        state.documents.clone_from(&snapshot.documents);
        state.keys.clone_from(&snapshot.keys);
    }

    async fn state(&self) -> MutexGuard<'_, DocumentsState> {
        tokio::task::yield_now().await;
        self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, DocumentsState> {
        self.state.locked()
    }

    fn told(&self, id: JobId, document: Option<&Document>) {
        if let Some(watch) = &self.watch {
            watch(id, document);
        }
    }
}

impl fmt::Debug for MemoryDocuments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryDocuments")
            .field("clock", &self.clock)
            .finish_non_exhaustive()
    }
}

impl DocumentsState {
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
        let mut can = DocumentCapabilities::new("memory documents", Durability::Volatile);
        can.clock = self.clock_source;
        can.shared = self.shared;
        can
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
            self.told(document.id, Some(document));
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
            self.told(document.id, Some(document));
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
            self.told(*id, None);
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
