//! [`DocumentStore`]: the basic contract, for stores that can do little.

use std::{collections::BTreeSet, fmt, ops::Bound, sync::Arc};

use async_trait::async_trait;

use super::{ClockSource, Durability};
use crate::{Clock, JobId, Result};

/// A store of versioned documents, each filed under a few ordered keys. [`Documents`] makes a full
/// [`JobStore`](super::JobStore) of it.
///
/// A file system, a key-value bucket or an embedded engine can do this by itself: nothing here
/// knows what a job is.
///
/// * **Linearizable per document.** A batch need not be atomic: each element has its own answer,
///   in the order of the input, and elements of one batch take effect in that order. It may be
///   atomic, and should be where that is one wait for the disk instead of many.
/// * **An error means unknown**, for each element of the batch; what can be refused is an answer.
///   **Durable at return.**
/// * **Cancel safe**: dropping a call's future leaves each document either written or not.
/// * **Keys never lag behind.** A document is found by [`scan`](Self::scan) under each of its keys
///   from the moment it is written. Where keys and documents can't be written in one step, write
///   the new keys first, then the document, then remove the old keys: a key that leads to a
///   document that is not filed under it (any more) is harmless, if it is not for ever: the job is
///   counted twice.
/// * **Ids sort by their bytes** ([`JobId::as_bytes`]), keys by theirs, and what is filed by key
///   and then id. A page begins *after* its cursor, which may have gone meanwhile, and is shorter
///   than `limit` only where it is the last.
///
/// # What it is called with
/// Batches of up to a few thousand small documents, pages of up to 4096 keys. An id may come twice
/// in one batch of `insert` or `get`. An empty batch is not an error.
///
/// # Where it is called
/// From more than one runtime: leases are renewed on a thread that has a runtime of its own. A
/// client whose connections belong to the runtime that made them needs one of each. What blocks
/// goes to a thread (`tokio::task::spawn_blocking`).
///
/// # Errors
/// `Unavailable` or `Timeout` where the same call may succeed later; it is repeated. Anything else
/// is taken to last. Put the cause into [`because`](crate::Error::because), nothing of the
/// documents into the message.
///
/// [`Documents`]: super::Documents
#[async_trait]
pub trait DocumentStore: Send + Sync + fmt::Debug {
    /// What this store can do. Constant for the life of the value.
    fn capabilities(&self) -> DocumentCapabilities;

    /// The clock that jobs go by.
    fn clock(&self) -> Arc<dyn Clock>;

    /// Stores new documents, each under a version of the store's making; what their `version` says
    /// is of no interest. One whose id is there is left as it is.
    async fn insert(&self, documents: &[Document]) -> Result<Vec<Inserted>>;

    /// The documents with these ids, `None` where there is none.
    ///
    /// One that is there and can't be read (cut short, or no document at all) has an empty body
    /// here, so that it hurts nobody else and yet is not taken for missing. It is never replaced.
    async fn get(&self, ids: &[JobId]) -> Result<Vec<Option<Document>>>;

    /// Replaces documents, keys and all, that still have the version that was read. Each gets a new
    /// version.
    async fn replace(&self, documents: &[Document]) -> Result<Vec<Replaced>>;

    /// Deletes documents that still have this version.
    async fn delete(&self, documents: &[(JobId, Version)]) -> Result<Vec<Replaced>>;

    /// What is filed under keys of the range, in the order of key and id, from after `after` on,
    /// at most `limit`.
    async fn scan(
        &self,
        range: &KeyRange,
        after: Option<&Filed>,
        limit: usize,
    ) -> Result<Vec<Filed>>;

    /// Documents in the order of their ids, from after `after` on, at most `limit`.
    async fn list(&self, after: Option<JobId>, limit: usize) -> Result<Vec<Document>>;

    /// Where a person finds a document, for messages: a path, say. Provided: its id.
    fn place(&self, id: JobId) -> String {
        id.to_string()
    }
}

/// A key, and the document that is filed under it.
pub type Filed = (Key, JobId);

/// A document: to the store, bytes and where they are filed.
#[derive(Clone, PartialEq, Eq)]
pub struct Document {
    /// Its name among all documents. Most are a job's id.
    pub id: JobId,
    /// Which of its states this is.
    pub version: Version,
    /// What it is filed under: one to four keys.
    pub keys: Vec<Key>,
    /// JSON without white space around it, kept byte for byte: at most
    /// [`max_metadata`](DocumentCapabilities::max_metadata) and 512 KiB more.
    pub body: Vec<u8>,
}

impl fmt::Debug for Document {
    /// Not what it says: that is the user's.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Document")
            .field("id", &self.id)
            .field("version", &self.version)
            .field("keys", &self.keys)
            .field("bytes", &self.body.len())
            .finish()
    }
}

/// What tells one state of a document from all others it ever had: a counter, a revision, an ETag.
///
/// Every write gives a new one, also where the bytes stay the same, and also where the document was
/// deleted in between: so a counter is one of the whole store, stored with it, and not one of each
/// document. Times and hashes of the content are no versions: two writes may share one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Version(pub Vec<u8>);

/// What documents are filed under: 1 to 160 bytes of `a-z 0-9 , . _ -`, ordered bytewise, and so
/// fit for file names and the keys of most buckets.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Arc<str>);

impl Key {
    /// The longest one, in bytes.
    pub const MAX: usize = 160;

    /// From its text, as a store kept it.
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Keys from one on, up to but without another, by their bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRange {
    /// The first.
    pub from: Key,
    /// The first that is not among them.
    pub until: Key,
}

impl KeyRange {
    /// A page of an ordered set: what is filed under keys of the range, from after `after` on, at
    /// most `limit`. All of [`DocumentStore::scan`] for a store that keeps its keys in memory.
    ///
    /// ```
    /// use bgjob::{JobId, store::{Key, KeyRange}};
    /// use std::collections::BTreeSet;
    ///
    /// let range = KeyRange { from: Key::new("b"), until: Key::new("d") };
    /// let filed = ["a", "b", "c", "d"].map(|key| (Key::new(key), JobId::new()));
    /// let filed = BTreeSet::from(filed);
    /// let page = range.page(&filed, None, 1);
    /// assert_eq!(page[0].0.as_str(), "b");
    /// assert_eq!(range.page(&filed, page.last(), 9)[0].0.as_str(), "c");
    /// ```
    pub fn page(&self, filed: &BTreeSet<Filed>, after: Option<&Filed>, limit: usize) -> Vec<Filed> {
        let from = match after {
            Some(after) => Bound::Excluded(after.clone()),
            None => Bound::Included((self.from.clone(), JobId::from_bytes([0; 16]))),
        };
        let rest = filed.range((from, Bound::Unbounded));
        let within = rest.take_while(|(key, _)| self.contains(key));
        within.take(limit).cloned().collect()
    }

    /// Whether a key is among them.
    pub fn contains(&self, key: &Key) -> bool {
        self.from <= *key && *key < self.until
    }
}

/// The answer to one insert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inserted {
    /// It is stored.
    Inserted,
    /// The id is there already.
    Taken,
}

/// The answer to one replace or delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replaced {
    /// It is done.
    Replaced,
    /// The document has another version, or is gone: read it again.
    Conflict,
}

/// What a document store can do.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DocumentCapabilities {
    /// Its name, for messages.
    pub name: &'static str,
    /// What survives which failure.
    pub durability: Durability,
    /// Whose clock it goes by: what [`DocumentStore::clock`] answers is one clock for all who use
    /// the store (`Store`: a server's, or the host's where all are on one host), or not (`Client`).
    pub clock: ClockSource,
    /// Others write to it too, past this value: another process, or a second value that was opened
    /// on the same place. Their writes are polled for, every second. Where nobody else can write
    /// (`false`), whoever waits is woken at once and nothing is polled for.
    pub shared: bool,
    /// The largest metadata it takes, in bytes; the document around it is at most 512 KiB more.
    pub max_metadata: usize,
}

impl DocumentCapabilities {
    /// A store of this name and durability that others may write to, each by its own clock, with
    /// 1 MiB of metadata a job; fields say what differs.
    ///
    /// ```
    /// use bgjob::{Durability, store::{ClockSource, DocumentCapabilities}};
    ///
    /// let mut can = DocumentCapabilities::new("embedded", Durability::OsCrash);
    /// can.clock = ClockSource::Store; // one process, so one clock
    /// can.shared = false;
    /// assert_eq!(can.max_metadata, 1024 * 1024);
    /// ```
    pub const fn new(name: &'static str, durability: Durability) -> Self {
        Self {
            name,
            durability,
            clock: ClockSource::Client,
            shared: true,
            max_metadata: crate::job::limits::METADATA_HARD,
        }
    }
}
