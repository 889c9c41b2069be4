//! Jobs as JSON files in a folder, for any number of processes on one host. People and other
//! programs can read the files, and the host needs nothing else installed.
//!
//! | | |
//! |---|---|
//! | durability | survives a crash of the machine; on Windows, of the process |
//! | order | the most urgent first, then the longest due, across all processes |
//! | wake-up | at once within the process; writes of other processes are polled for |
//! | clock | the host's, which all processes share |
//! | limits | 1 MiB of metadata a job; one host, no network file system |
//! | memory | about 200 bytes a job in each process, for the index |
//!
//! ```text
//! folder/
//!   format                     what made it
//!   lock                       held by the process at work
//!   index.log                  what is filed under which key; made anew if it is deleted
//!   documents/018bcfe/018bcfe5-….json
//! ```
//!
//! A relative path is relative to the working directory at the time the store is opened.
//!
//! A process that is suspended while it holds the lock blocks all others until it goes on or dies.
//!
//! Only the owner can read what the store makes. That includes the folder itself if the store made
//! it; a folder that existed keeps its permissions. A document that can't be read, because somebody
//! cut it short, say, is left as it is: dispatchers report it ([`Event::Unreadable`](crate::Event))
//! and run all other jobs, reading its job is an error that names the file, and its id stays taken.
//! Files of any other name are ignored. If you remove documents by hand, remove `index.log` too.

mod disk;
mod folder;
#[cfg(feature = "testing")]
pub(crate) mod fuzz;
mod index;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod trace;

use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::{Arc, mpsc::Receiver},
};

use async_trait::async_trait;
use tokio::sync::oneshot;

use crate::{
    Clock, Durability, Error, ErrorKind, JobId, JobStore, Result, SystemClock,
    store::{
        ClockSource, Document, DocumentCapabilities, DocumentStore, Documents, Filed, Inserted,
        KeyRange, Replaced, Scheme, Version,
    },
};

use crate::toolkit::{Worker, absolute, forward_job_store};

/// How [`JobManager::connect`](crate::JobManager::connect) opens it.
pub(super) const SCHEME: Scheme = Scheme::store("file", |url| {
    Box::pin(async move { Ok(Arc::new(FileStore::open_url(url).await?) as Arc<dyn JobStore>) })
});
use folder::{Batch, Folder};

/// How many documents are gathered for one batch.
const GATHERED: usize = 4000;

/// A store of JSON files.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// # let folder = std::env::temp_dir().join(bgjob::JobId::new().to_string());
/// use bgjob::{JobStore, providers::file::FileStore};
///
/// let store = FileStore::open(folder.join("jobs")).await?;
/// assert_eq!(store.capabilities().name, "file");
/// # drop(store);
/// # std::fs::remove_dir_all(&folder).unwrap();
/// # Ok::<(), bgjob::Error>(()) }).unwrap();
/// ```
#[derive(Debug)]
pub struct FileStore(Documents<FileDocuments>);

forward_job_store!([] FileStore, |store| &store.0);

impl FileStore {
    /// Opens the store in this folder, and makes it if there is none.
    ///
    /// # Errors
    /// `Unavailable` where the folder can't be read or written, `InvalidInput` where it holds
    /// something else, `Unsupported` where a newer version made it.
    pub async fn open(folder: impl Into<PathBuf>) -> Result<Self> {
        let documents = FileDocuments::open(folder).await?;
        Ok(Self(Documents::new(documents)))
    }

    /// Opens the store of a URL: `file:folder`. The path is taken literally.
    ///
    /// # Errors
    /// As for [`open`](Self::open), and `InvalidInput` where the URL is not of this form.
    pub async fn open_url(url: &str) -> Result<Self> {
        Self::open(folder_of(url)?).await
    }
}

fn folder_of(url: &str) -> Result<&str> {
    let path = url
        .strip_prefix("file:")
        .ok_or_else(|| Error::invalid("the URL of a folder is `file:folder`"))?;
    let path = match path.strip_prefix("//") {
        Some(path) if !path.starts_with('/') => {
            return Err(Error::invalid(
                "a `file:` URL names no host: it is `file:path` or `file:///path`",
            ));
        }
        Some(path) => path,
        None => path,
    };
    if path.is_empty() {
        return Err(Error::invalid(
            "the URL names no folder: it is `file:path/to/folder`",
        ));
    }
    if path.contains('?') {
        return Err(Error::invalid("a `file:` URL has no options"));
    }
    Ok(path)
}

/// Documents as JSON files. [`FileStore`] is a store for jobs made of them.
///
/// All calls go to one thread, which runs the calls that have gathered as one batch, under one
/// lock. Each file is written through to the disk before it takes its place, and the entries of the
/// folders once a batch. Each batch costs about three waits for the disk, and each document one
/// file.
#[derive(Debug)]
pub struct FileDocuments {
    worker: Worker<Box<dyn Call>>,
    clock: Arc<dyn Clock>,
    root: PathBuf,
}

impl FileDocuments {
    /// Opens the folder, and makes it if there is none.
    ///
    /// # Errors
    /// As for [`FileStore::open`].
    pub async fn open(folder: impl Into<PathBuf>) -> Result<Self> {
        Self::with_clock(folder, Arc::new(SystemClock)).await
    }

    /// The same, with another clock than the host's.
    ///
    /// # Errors
    /// As for [`FileStore::open`].
    pub async fn with_clock(folder: impl Into<PathBuf>, clock: Arc<dyn Clock>) -> Result<Self> {
        let root = absolute(&folder.into())?;
        let folder = root.clone();
        let (opened, result) = oneshot::channel();
        let worker = Worker::start("bgjob-files", move |inbox| match Folder::open(folder) {
            Ok(folder) => {
                if opened.send(Ok(())).is_ok() {
                    serve(folder, &inbox);
                }
            }
            // There is no receiver if the caller's future was dropped.
            Err(error) => drop(opened.send(Err(error))),
        })?;
        let opened = result.await.unwrap_or_else(|_| Err(panicked()));
        opened.map_err(|error| error.with("folder", root.display()))?;
        Ok(Self {
            worker,
            clock,
            root,
        })
    }

    fn call<T: Send + 'static>(
        &self,
        documents: usize,
        work: impl FnMut(&mut Batch<'_>) -> Result<T> + Send + 'static,
    ) -> impl Future<Output = Result<T>> + Send {
        let (reply, answer) = oneshot::channel();
        let sent = self.worker.send(Box::new(Work {
            work,
            documents,
            done: None,
            reply,
        }));
        async move {
            sent?;
            let answer = answer.await.unwrap_or_else(|_| Err(panicked()));
            answer.map_err(|error| error.with("folder", self.root.display()))
        }
    }
}

fn panicked() -> Error {
    Error::new(ErrorKind::Internal, "the thread of the file store panicked")
}

/// One call of the store.
trait Call: Send {
    fn documents(&self) -> usize;
    /// Whether its caller still waits.
    fn is_wanted(&self) -> bool;
    fn run(&mut self, batch: &mut Batch<'_>);
    /// Sends the caller the result of the call, or the error if the batch as a whole failed.
    fn answer(self: Box<Self>, failed: Option<&Error>);
}

struct Work<F, T> {
    work: F,
    documents: usize,
    done: Option<Result<T>>,
    reply: oneshot::Sender<Result<T>>,
}

impl<F, T> Call for Work<F, T>
where
    F: FnMut(&mut Batch<'_>) -> Result<T> + Send,
    T: Send,
{
    fn documents(&self) -> usize {
        self.documents
    }

    fn is_wanted(&self) -> bool {
        !self.reply.is_closed()
    }

    fn run(&mut self, batch: &mut Batch<'_>) {
        self.done = Some((self.work)(batch));
    }

    fn answer(self: Box<Self>, failed: Option<&Error>) {
        let answer = match failed {
            Some(error) => Err(error.share()),
            None => self
                .done
                .expect("a call of a batch that was written has run"),
        };
        // There is no receiver if the caller's future was dropped.
        let _ = self.reply.send(answer);
    }
}

fn serve(mut folder: Folder, inbox: &Receiver<Box<dyn Call>>) {
    while let Ok(first) = inbox.recv() {
        let mut documents = first.documents();
        let mut calls = vec![first];
        while documents < GATHERED
            && let Ok(call) = inbox.try_recv()
        {
            documents += call.documents();
            calls.push(call);
        }
        calls.retain(|call| call.is_wanted());
        // A panic drops the calls, which gives their callers an error.
        if catch_unwind(AssertUnwindSafe(|| answer(&mut folder, calls))).is_err() {
            folder.recover();
        }
    }
}

fn answer(folder: &mut Folder, mut calls: Vec<Box<dyn Call>>) {
    let run = |batch: &mut Batch<'_>| calls.iter_mut().for_each(|call| call.run(batch));
    let failed = folder.batch(run).err();
    for call in calls {
        call.answer(failed.as_ref());
    }
}

#[async_trait]
impl DocumentStore for FileDocuments {
    fn capabilities(&self) -> DocumentCapabilities {
        // Windows can't write the entries of a folder through to the disk.
        let durability = if cfg!(windows) {
            Durability::ProcessCrash
        } else {
            Durability::OsCrash
        };
        // The clock is the host's, which is one for all clients of the store.
        let mut can = DocumentCapabilities::new("file", durability);
        can.clock = ClockSource::Store;
        can
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock)
    }

    async fn insert(&self, documents: &[Document]) -> Result<Vec<Inserted>> {
        let documents = documents.to_vec();
        self.call(documents.len(), move |batch| {
            documents.iter().map(|new| batch.insert(new)).collect()
        })
        .await
    }

    async fn get(&self, ids: &[JobId]) -> Result<Vec<Option<Document>>> {
        let ids = ids.to_vec();
        self.call(ids.len(), move |batch| {
            ids.iter().map(|id| batch.get(*id)).collect()
        })
        .await
    }

    async fn replace(&self, documents: &[Document]) -> Result<Vec<Replaced>> {
        let documents = documents.to_vec();
        self.call(documents.len(), move |batch| {
            documents.iter().map(|new| batch.replace(new)).collect()
        })
        .await
    }

    async fn delete(&self, documents: &[(JobId, Version)]) -> Result<Vec<Replaced>> {
        let documents = documents.to_vec();
        self.call(documents.len(), move |batch| {
            let delete = |(id, version): &(JobId, Version)| batch.delete(*id, version);
            documents.iter().map(delete).collect()
        })
        .await
    }

    async fn scan(
        &self,
        range: &KeyRange,
        after: Option<&Filed>,
        limit: usize,
    ) -> Result<Vec<Filed>> {
        let (range, after) = (range.clone(), after.cloned());
        self.call(1, move |batch| {
            Ok(batch.scan(&range, after.as_ref(), limit))
        })
        .await
    }

    async fn list(&self, after: Option<JobId>, limit: usize) -> Result<Vec<Document>> {
        self.call(1, move |batch| batch.list(after, limit)).await
    }

    fn place(&self, id: JobId) -> String {
        folder::path(&self.root, id).display().to_string()
    }
}
