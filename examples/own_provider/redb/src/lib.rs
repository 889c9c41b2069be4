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

use std::{
    ops::Bound,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use bgjob_core::{
    Clock, Durability, Error, ErrorKind, JobId, JobStore, Result, SystemClock, register_scheme,
    store::{
        ClockSource, Document, DocumentCapabilities, DocumentStore, Documents, Filed, Inserted,
        Key, KeyRange, Opening, Replaced, Scheme, Version,
    },
};
use redb::{Database, ReadableDatabase, ReadableTable, Table, TableDefinition};

/// How the store is opened by its URL, `redb:path`.
fn open(url: &str) -> Opening<'_, dyn JobStore> {
    Box::pin(async move {
        let path = url.strip_prefix("redb:").unwrap_or(url);
        let documents = RedbDocuments::open(Path::new(path), Arc::new(SystemClock)).await?;
        Ok(Arc::new(Documents::new(documents)) as Arc<dyn JobStore>)
    })
}

register_scheme!(Scheme::store("redb", open));

type Id = [u8; 16];

/// A document: its version, its keys, and the JSON.
type Row<'a> = (u64, Vec<&'a str>, &'a [u8]);

const DOCUMENTS: TableDefinition<'_, &Id, Row<'_>> = TableDefinition::new("documents");
/// What is filed under which key. Pairs sort as the contract wants it.
const FILED: TableDefinition<'_, (&str, &Id), ()> = TableDefinition::new("filed");
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
    /// Opens the file, and makes it if there is none. Jobs go by the clock that is given.
    ///
    /// # Errors
    /// `Unavailable` where the file can't be read or written, or is open already.
    pub async fn open(path: impl Into<PathBuf>, clock: Arc<dyn Clock>) -> Result<Self> {
        let (path, database) = (path.into(), Mutex::default());
        let file = Arc::new(RedbFile { path, database });
        let documents = Self { file, clock };
        documents.off_thread(|_| Ok(())).await?;
        Ok(documents)
    }

    /// Runs a batch as one transaction, with one wait for the disk: when this returns, all of it
    /// is there for good.
    async fn write<T: Send + 'static>(
        &self,
        batch: impl FnOnce(&mut Tables<'_>) -> Redb<T> + Send + 'static,
    ) -> Result<T> {
        self.off_thread(move |database| {
            let transaction = database.begin_write()?;
            let mut tables = Tables {
                documents: transaction.open_table(DOCUMENTS)?,
                filed: transaction.open_table(FILED)?,
                last_version: transaction.open_table(LAST_VERSION)?,
            };
            let answer = batch(&mut tables)?;
            drop(tables);
            transaction.commit()?;
            Ok(answer)
        })
        .await
    }

    /// redb blocks: on its file, and on another writer. What has begun runs to its end, also where
    /// nobody waits for it any more.
    async fn off_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Database) -> Redb<T> + Send + 'static,
    ) -> Result<T> {
        let file = Arc::clone(&self.file);
        let task = tokio::task::spawn_blocking(move || file.with(work).map_err(translate));
        task.await.unwrap_or_else(|gone| {
            let message = "a call of the redb store did not come to its end";
            Err(Error::new(ErrorKind::Internal, message).because(gone))
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
    fn with<T>(&self, work: impl FnOnce(&Database) -> Redb<T>) -> Redb<T> {
        let database = self.database()?;
        work(&database).inspect_err(|_| {
            // redb wants to be opened anew after a failure of the disk. Others may have done so.
            self.slot().take_if(|now| Arc::ptr_eq(now, &database));
        })
    }

    fn database(&self) -> Redb<Arc<Database>> {
        let mut slot = self.slot();
        if let Some(database) = &*slot {
            return Ok(Arc::clone(database));
        }
        let database = Database::create(&self.path)?;
        // Reads want to find the tables there.
        let transaction = database.begin_write()?;
        transaction.open_table(DOCUMENTS)?;
        transaction.open_table(FILED)?;
        transaction.commit()?;
        Ok(Arc::clone(slot.insert(Arc::new(database))))
    }

    fn slot(&self) -> MutexGuard<'_, Option<Arc<Database>>> {
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Redb<T> = Result<T, redb::Error>;

/// What a caller can do about it: try again, or nothing.
fn translate(error: redb::Error) -> Error {
    use redb::Error::{Corrupted, DatabaseAlreadyOpen, TableTypeMismatch};
    let kind = match error {
        Corrupted(_) | TableTypeMismatch { .. } => ErrorKind::Internal,
        _ => ErrorKind::Unavailable,
    };
    let message = match error {
        DatabaseAlreadyOpen => "the redb file is open already: it takes one process at a time",
        _ => "the redb file can't be used",
    };
    Error::new(kind, message).because(error)
}

/// The tables, within one write transaction.
struct Tables<'t> {
    documents: Table<'t, &'static Id, Row<'static>>,
    filed: Table<'t, (&'static str, &'static Id), ()>,
    last_version: Table<'t, (), u64>,
}

impl Tables<'_> {
    fn insert(&mut self, new: &Document) -> Redb<Inserted> {
        if self.documents.get(new.id.as_bytes())?.is_some() {
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
        self.documents.remove(id.as_bytes())?;
        Ok(Replaced::Replaced)
    }

    fn put(&mut self, document: &Document) -> Redb<()> {
        let id = document.id.as_bytes();
        let version = 1 + self.last_version.get(())?.map_or(0, |last| last.value());
        self.last_version.insert((), version)?;
        let keys: Vec<_> = document.keys.iter().map(Key::as_str).collect();
        for key in &keys {
            self.filed.insert((*key, id), ())?;
        }
        self.documents
            .insert(id, (version, keys, &*document.body))?;
        Ok(())
    }

    /// Removes what a document is filed under, if it still has this version.
    fn take_keys(&mut self, id: JobId, version: &Version) -> Redb<bool> {
        let id = id.as_bytes();
        let found = self.documents.get(id)?;
        let Some(row) = found.filter(|row| version.0 == row.value().0.to_be_bytes()) else {
            return Ok(false);
        };
        for key in row.value().1 {
            self.filed.remove((key, id))?;
        }
        Ok(true)
    }
}

fn document(id: &Id, (version, keys, body): Row<'_>) -> Document {
    Document {
        id: JobId::from_bytes(*id),
        version: Version(version.to_be_bytes().into()),
        keys: keys.into_iter().map(Key::new).collect(),
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
        self.off_thread(move |database| {
            let rows = database.begin_read()?.open_table(DOCUMENTS)?;
            let get = |id: &JobId| {
                let row = rows.get(id.as_bytes())?;
                Ok(row.map(|row| document(id.as_bytes(), row.value())))
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
        self.off_thread(move |database| {
            let from = match &after {
                Some((key, id)) => Bound::Excluded((key.as_str(), id.as_bytes())),
                None => Bound::Included((range.from.as_str(), &[0; 16])),
            };
            let until = Bound::Excluded((range.until.as_str(), &[0; 16]));
            let filed = database.begin_read()?.open_table(FILED)?;
            let page = filed.range::<(&str, &Id)>((from, until))?.take(limit);
            page.map(|entry| {
                let (entry, _) = entry?;
                let (key, id) = entry.value();
                Ok((Key::new(key), JobId::from_bytes(*id)))
            })
            .collect()
        })
        .await
    }

    async fn list(&self, after: Option<JobId>, limit: usize) -> Result<Vec<Document>> {
        self.off_thread(move |database| {
            let from = after.as_ref().map(JobId::as_bytes);
            let from = from.map_or(Bound::Unbounded, Bound::Excluded);
            let rows = database.begin_read()?.open_table(DOCUMENTS)?;
            let page = rows.range::<&Id>((from, Bound::Unbounded))?.take(limit);
            page.map(|row| {
                let (id, row) = row?;
                Ok(document(id.value(), row.value()))
            })
            .collect()
        })
        .await
    }
}
