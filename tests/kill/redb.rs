//! The example's redb store, shared: processes take turns at opening the file.
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

use tokio::{
    sync::Mutex,
    time::{Instant, sleep, sleep_until},
};

use bgjob_redb::RedbDocuments;

/// How long a process has the file to itself before the others may have it.
const TURN: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub(crate) struct SharedRedb {
    path: PathBuf,
    turn: Arc<Mutex<Turn>>,
}

#[derive(Debug)]
struct Turn {
    open: Option<RedbDocuments>,
    /// Not before then, so that others come in between.
    next: Instant,
}

impl SharedRedb {
    pub(crate) fn new(folder: &Path) -> Self {
        let turn = Turn {
            open: None,
            next: Instant::now(),
        };
        Self {
            path: folder.join("jobs.redb"),
            turn: Arc::new(Mutex::new(turn)),
        }
    }

    /// Opens it as soon as it is nobody else's, and closes it for them after a turn.
    async fn with<T>(&self, call: impl AsyncFnOnce(&RedbDocuments) -> Result<T>) -> Result<T> {
        let mut turn = self.turn.lock().await;
        if turn.open.is_none() {
            sleep_until(turn.next).await;
            turn.open = Some(self.open().await?);
            let held = Arc::clone(&self.turn);
            tokio::spawn(async move {
                sleep(TURN).await;
                let mut turn = held.lock().await;
                turn.open = None;
                turn.next = Instant::now() + TURN / 4;
            });
        }
        call(turn.open.as_ref().expect("it is open")).await
    }

    async fn open(&self) -> Result<RedbDocuments> {
        loop {
            match RedbDocuments::open(&self.path, Arc::new(SystemClock)).await {
                Err(error) if error.kind() == ErrorKind::Unavailable => {
                    sleep(Duration::from_micros(fastrand::u64(100..2000))).await;
                }
                answer => return answer,
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
