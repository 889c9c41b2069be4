//! Jobs in a [redb](https://docs.rs/redb) file: a store that bgjob knows nothing about, through the
//! basic contract. `docs/write-a-provider.md` goes through it step by step.
//!
//! | | |
//! |---|---|
//! | durability | a crash of the machine |
//! | order | the most urgent first, then the longest due |
//! | wake-up | at once, within the process |
//! | clock | the process's |
//! | limits | 1 MiB of metadata a job; one process at a time |
//!
//! After a failure of the disk the next call opens the file again.

use std::{
    ops::Bound,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use bgjob::{
    Clock, Durability, Error, ErrorKind, JobId, Result, SystemClock,
    store::{
        ClockSource, Document, DocumentCapabilities, DocumentStore, Filed, Inserted, Key, KeyRange,
        Replaced, Version,
    },
};
use redb::{Database, ReadTransaction, ReadableDatabase, ReadableTable, Table, TableDefinition};

/// By id: the version, the keys (one a line), and the JSON.
const DOCUMENTS: TableDefinition<'_, u128, (u64, &str, &[u8])> = TableDefinition::new("documents");
/// What is filed under which key. Tuples of text and number sort as the contract wants it.
const FILED: TableDefinition<'_, (&str, u128), ()> = TableDefinition::new("filed");
/// The last version that was given, of all documents together: so none has one twice, not even
/// after it was deleted.
const LAST_VERSION: TableDefinition<'_, (), u64> = TableDefinition::new("last_version");

/// Documents in a redb file; `Documents::new` makes a store for jobs of them.
#[derive(Debug)]
pub struct RedbDocuments {
    file: Arc<RedbFile>,
    clock: Arc<dyn Clock>,
}

impl RedbDocuments {
    /// Opens the file, and makes it if there is none.
    ///
    /// # Errors
    /// `Unavailable` where the file can't be read or written, or is open already; `Internal` where
    /// it holds something else.
    pub async fn open(path: impl Into<PathBuf>) -> Result<Self> {
        Self::with_clock(path, Arc::new(SystemClock)).await
    }

    /// The same, going by another clock than the host's: for tests.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn with_clock(path: impl Into<PathBuf>, clock: Arc<dyn Clock>) -> Result<Self> {
        let file = Arc::new(RedbFile {
            path: path.into(),
            database: Mutex::default(),
        });
        let documents = Self { file, clock };
        // Reads want to find the tables there.
        documents.write(|_| Ok(())).await?;
        Ok(documents)
    }

    /// Runs a batch as one transaction: all of it, or nothing, is in the file when this returns.
    async fn write<T: Send + 'static>(
        &self,
        batch: impl FnOnce(&mut Tables<'_>) -> Redb<T> + Send + 'static,
    ) -> Result<T> {
        self.off_thread(move |database| {
            let transaction = database.begin_write()?;
            let mut tables = Tables {
                documents: transaction.open_table(DOCUMENTS)?,
                filed: transaction.open_table(FILED)?,
                version: 0,
            };
            let mut last_version = transaction.open_table(LAST_VERSION)?;
            tables.version = last_version.get(())?.map_or(0, |last| last.value());
            let answer = batch(&mut tables)?;
            last_version.insert((), tables.version)?;
            drop((tables, last_version));
            // Returns when it is on the disk. Where we did not get here, nothing has happened.
            transaction.commit()?;
            Ok(answer)
        })
        .await
    }

    /// Reads from what has been committed, past a writer that is at work.
    async fn read<T: Send + 'static>(
        &self,
        look: impl FnOnce(&ReadTransaction) -> Redb<T> + Send + 'static,
    ) -> Result<T> {
        self.off_thread(move |database| look(&database.begin_read()?))
            .await
    }

    /// redb blocks: on its file, and on another writer. So it is kept off the async threads. What
    /// has begun runs to its end, also where nobody waits for it any more.
    async fn off_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Database) -> Redb<T> + Send + 'static,
    ) -> Result<T> {
        let file = Arc::clone(&self.file);
        let task = tokio::task::spawn_blocking(move || file.with(work));
        task.await.unwrap_or_else(|e| {
            let error = if e.is_panic() {
                Error::new(ErrorKind::Internal, "the redb store panicked")
            } else {
                Error::new(ErrorKind::Closed, "the runtime is shutting down")
            };
            Err(error)
        })
    }
}

/// The file, opened when it is needed.
#[derive(Debug)]
struct RedbFile {
    path: PathBuf,
    database: Mutex<Option<Arc<Database>>>,
}

impl RedbFile {
    fn with<T>(&self, work: impl FnOnce(&Database) -> Redb<T>) -> Result<T> {
        let database = self.database().map_err(translate)?;
        work(&database).map_err(|error| {
            // redb wants to be opened anew after a failure of the disk. Others may have done so.
            let mut slot = self.database.lock().unwrap_or_else(PoisonError::into_inner);
            slot.take_if(|current| Arc::ptr_eq(current, &database));
            translate(error)
        })
    }

    fn database(&self) -> Redb<Arc<Database>> {
        let mut slot = self.database.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(database) = &*slot {
            return Ok(Arc::clone(database));
        }
        let database = Database::create(&self.path)?;
        Ok(Arc::clone(slot.insert(Arc::new(database))))
    }
}

type Redb<T> = Result<T, redb::Error>;

/// What a caller can do about it: try again later, or nothing. No word of what documents say.
fn translate(error: redb::Error) -> Error {
    let (kind, message) = match &error {
        redb::Error::DatabaseAlreadyOpen => (
            ErrorKind::Unavailable,
            "the redb file is open already: it takes one process at a time",
        ),
        redb::Error::Io(_)
        | redb::Error::PreviousIo
        | redb::Error::DatabaseClosed
        | redb::Error::LockPoisoned(_) => (
            ErrorKind::Unavailable,
            "the redb file can't be read or written",
        ),
        _ => (ErrorKind::Internal, "redb refuses the file or the call"),
    };
    Error::new(kind, message).because(error)
}

/// The tables, within one write transaction.
struct Tables<'t> {
    documents: Table<'t, u128, (u64, &'static str, &'static [u8])>,
    filed: Table<'t, (&'static str, u128), ()>,
    version: u64,
}

impl Tables<'_> {
    fn insert(&mut self, new: &Document) -> Redb<Inserted> {
        if self.documents.get(number(new.id))?.is_some() {
            return Ok(Inserted::Taken);
        }
        self.put(new)?;
        Ok(Inserted::Inserted)
    }

    fn replace(&mut self, new: &Document) -> Redb<Replaced> {
        if !self.take_keys(new.id, &new.version)? {
            return Ok(Replaced::Conflict);
        }
        self.put(new)?;
        Ok(Replaced::Replaced)
    }

    fn delete(&mut self, id: JobId, version: &Version) -> Redb<Replaced> {
        if !self.take_keys(id, version)? {
            return Ok(Replaced::Conflict);
        }
        self.documents.remove(number(id))?;
        Ok(Replaced::Replaced)
    }

    fn put(&mut self, document: &Document) -> Redb<()> {
        let id = number(document.id);
        self.version += 1;
        let keys: Vec<_> = document.keys.iter().map(Key::as_str).collect();
        for key in &keys {
            self.filed.insert((*key, id), ())?;
        }
        let row = (self.version, &*keys.join("\n"), &*document.body);
        self.documents.insert(id, row)?;
        Ok(())
    }

    /// Removes what a document is filed under, if it still has this version.
    fn take_keys(&mut self, id: JobId, version: &Version) -> Redb<bool> {
        let id = number(id);
        let Some(row) = self.documents.get(id)? else {
            return Ok(false);
        };
        let (stored, keys, _) = row.value();
        if version.0 != stored.to_be_bytes() {
            return Ok(false);
        }
        for key in keys.lines() {
            self.filed.remove((key, id))?;
        }
        Ok(true)
    }
}

/// Ids sort bytewise, and so do these numbers.
fn number(id: JobId) -> u128 {
    u128::from_be_bytes(*id.as_bytes())
}

fn id(number: u128) -> JobId {
    JobId::from_bytes(number.to_be_bytes())
}

fn document(number: u128, (version, keys, body): (u64, &str, &[u8])) -> Document {
    Document {
        id: id(number),
        version: Version(version.to_be_bytes().into()),
        keys: keys.lines().map(Key::new).collect(),
        body: body.into(),
    }
}

#[async_trait]
impl DocumentStore for RedbDocuments {
    fn capabilities(&self) -> DocumentCapabilities {
        let mut can = DocumentCapabilities::new("redb", Durability::OsCrash);
        // One process, so one clock; and nobody else writes, so nothing need be polled for.
        can.clock = ClockSource::Store;
        can.shared = false;
        can
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock)
    }

    async fn insert(&self, documents: &[Document]) -> Result<Vec<Inserted>> {
        let new = documents.to_vec();
        self.write(move |tables| new.iter().map(|new| tables.insert(new)).collect())
            .await
    }

    async fn get(&self, ids: &[JobId]) -> Result<Vec<Option<Document>>> {
        let ids = ids.to_vec();
        self.read(move |transaction| {
            let rows = transaction.open_table(DOCUMENTS)?;
            let get = |id: &JobId| {
                let row = rows.get(number(*id))?;
                Ok(row.map(|row| document(number(*id), row.value())))
            };
            ids.iter().map(get).collect()
        })
        .await
    }

    async fn replace(&self, documents: &[Document]) -> Result<Vec<Replaced>> {
        let new = documents.to_vec();
        self.write(move |tables| new.iter().map(|new| tables.replace(new)).collect())
            .await
    }

    async fn delete(&self, documents: &[(JobId, Version)]) -> Result<Vec<Replaced>> {
        let old = documents.to_vec();
        self.write(move |tables| old.iter().map(|(id, at)| tables.delete(*id, at)).collect())
            .await
    }

    async fn scan(
        &self,
        range: &KeyRange,
        after: Option<&Filed>,
        limit: usize,
    ) -> Result<Vec<Filed>> {
        let (range, after) = (range.clone(), after.cloned());
        self.read(move |transaction| {
            let from = match &after {
                Some((key, id)) => Bound::Excluded((key.as_str(), number(*id))),
                None => Bound::Included((range.from.as_str(), 0)),
            };
            let until = Bound::Excluded((range.until.as_str(), 0));
            let filed = transaction.open_table(FILED)?;
            let page = filed.range::<(&str, u128)>((from, until))?.take(limit);
            page.map(|entry| {
                let (entry, _) = entry?;
                let (key, number) = entry.value();
                Ok((Key::new(key), id(number)))
            })
            .collect()
        })
        .await
    }

    async fn list(&self, after: Option<JobId>, limit: usize) -> Result<Vec<Document>> {
        let from = after.map_or(Bound::Unbounded, |id| Bound::Excluded(number(id)));
        self.read(move |transaction| {
            let rows = transaction.open_table(DOCUMENTS)?;
            let page = rows.range((from, Bound::Unbounded))?.take(limit);
            page.map(|row| {
                let (id, row) = row?;
                Ok(document(id.value(), row.value()))
            })
            .collect()
        })
        .await
    }
}
