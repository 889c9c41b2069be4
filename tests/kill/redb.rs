//! The example's redb store, shared: each call opens the file, and closes it for the others.
//!
//! redb lets one process in at a time. So its lock is all that keeps the processes apart here, and
//! each kill that hits an open file leaves one for the next to repair.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use bgjob::{
    Clock, ErrorKind, JobId, Result, SystemClock,
    store::{
        Document, DocumentCapabilities, DocumentStore, Durability, Filed, Inserted, KeyRange,
        Replaced, Version,
    },
};

#[path = "../../examples/own_provider/store.rs"]
mod store;
use store::RedbDocuments;

#[derive(Debug)]
pub(crate) struct SharedRedb {
    path: PathBuf,
    /// One call of this process at a time: they would only wait for each other's lock.
    turn: tokio::sync::Mutex<()>,
}

impl SharedRedb {
    pub(crate) fn new(folder: &Path) -> Self {
        Self {
            path: folder.join("jobs.redb"),
            turn: tokio::sync::Mutex::default(),
        }
    }

    /// Opens it as soon as it is nobody else's.
    async fn with<T>(&self, call: impl AsyncFnOnce(&RedbDocuments) -> Result<T>) -> Result<T> {
        let _turn = self.turn.lock().await;
        loop {
            match RedbDocuments::open(&self.path, Arc::new(SystemClock)).await {
                Ok(open) => return call(&open).await,
                Err(error) if error.kind() == ErrorKind::Unavailable => {
                    tokio::time::sleep(Duration::from_micros(fastrand::u64(100..2000))).await;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

#[async_trait]
impl DocumentStore for SharedRedb {
    fn capabilities(&self) -> DocumentCapabilities {
        let mut can = DocumentCapabilities::new("redb", Durability::OsCrash);
        can.shared = true;
        can
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(SystemClock)
    }

    async fn insert(&self, documents: &[Document]) -> Result<Vec<Inserted>> {
        self.with(async |open| open.insert(documents).await).await
    }

    async fn get(&self, ids: &[JobId]) -> Result<Vec<Option<Document>>> {
        self.with(async |open| open.get(ids).await).await
    }

    async fn replace(&self, documents: &[Document]) -> Result<Vec<Replaced>> {
        self.with(async |open| open.replace(documents).await).await
    }

    async fn delete(&self, documents: &[(JobId, Version)]) -> Result<Vec<Replaced>> {
        self.with(async |open| open.delete(documents).await).await
    }

    async fn scan(
        &self,
        range: &KeyRange,
        after: Option<&Filed>,
        limit: usize,
    ) -> Result<Vec<Filed>> {
        self.with(async |open| open.scan(range, after, limit).await)
            .await
    }

    async fn list(&self, after: Option<JobId>, limit: usize) -> Result<Vec<Document>> {
        self.with(async |open| open.list(after, limit).await).await
    }
}
