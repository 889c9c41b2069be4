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
/// * **Linearizable per document.** A batch need not be atomic: each element has its own answer, in
///   the order of the input, and elements of one batch take effect in that order. A batch may be
///   atomic, and should be where that costs one wait for the disk instead of many.
/// * **An error means unknown**, for each element of the batch. A refusal is an answer. **Durable
///   at return.**
/// * **Cancel safe**: dropping a call's future leaves each document either written or not.
/// * **Keys never lag behind.** [`scan`](Self::scan) finds a document under each of its keys from
///   the moment it is written. Where keys and documents can't be written in one step, write the new
///   keys first, then the document, then remove the old keys. A key that leads to a document no
///   longer filed under it does no harm for a while. If it stays for ever, the job is counted
///   twice.
/// * **Ids sort by their bytes** ([`JobId::as_bytes`]), keys by theirs, and scans by key and then
///   id. A page begins *after* its cursor, which may be gone by then. A page is shorter than
///   `limit` only if it is the last.
///
/// # What it is called with
/// Batches of up to a few thousand small documents, and pages of up to 4096 keys. An id may come
/// twice in one batch of `insert` or `get`. An empty batch is not an error.
///
/// # Where it is called
/// From more than one runtime: leases are renewed on a thread that has a runtime of its own. A
/// client whose connections belong to the runtime that made them needs one for each runtime. Run
/// blocking work on a thread (`tokio::task::spawn_blocking`).
///
/// # Errors
/// `Unavailable` or `Timeout` where the same call may succeed later; the caller repeats it. Every
/// other error is taken to last. Put the cause into [`because`](crate::Error::because), and nothing
/// from the documents into the message.
///
/// [`Documents`]: super::Documents
#[async_trait]
pub trait DocumentStore: Send + Sync + fmt::Debug {
    /// What this store can do. Constant for the life of the value.
    fn capabilities(&self) -> DocumentCapabilities;

    /// The clock that jobs go by.
    fn clock(&self) -> Arc<dyn Clock>;

    /// Stores new documents, each under a version that the store makes; their own `version` is
    /// ignored. A document whose id exists is left as it is.
    async fn insert(&self, documents: &[Document]) -> Result<Vec<Inserted>>;

    /// The documents with these ids, `None` where there is none.
    ///
    /// A document that exists and can't be read (cut short, or no document at all) is returned with
    /// an empty body. So it does no harm to others and is not taken for missing. It is never
    /// replaced.
    async fn get(&self, ids: &[JobId]) -> Result<Vec<Option<Document>>>;

    /// Replaces documents, including their keys, that still have the version that was read. Each
    /// gets a new version.
    async fn replace(&self, documents: &[Document]) -> Result<Vec<Replaced>>;

    /// Deletes documents that still have this version.
    async fn delete(&self, documents: &[(JobId, Version)]) -> Result<Vec<Replaced>>;

    /// What is filed under keys of the range, ordered by key and then id, beginning after `after`,
    /// at most `limit`.
    async fn scan(
        &self,
        range: &KeyRange,
        after: Option<&Filed>,
        limit: usize,
    ) -> Result<Vec<Filed>>;

    /// Documents in the order of their ids, beginning after `after`, at most `limit`.
    async fn list(&self, after: Option<JobId>, limit: usize) -> Result<Vec<Document>>;

    /// Where a person finds a document, for messages: a path, say. Provided: its id.
    fn place(&self, id: JobId) -> String {
        id.to_string()
    }
}

/// A key, and the document that is filed under it.
pub type Filed = (Key, JobId);

/// A document: to the store, bytes and the keys they are filed under.
#[derive(Clone, PartialEq, Eq)]
pub struct Document {
    /// Its unique id. Most are the id of a job.
    pub id: JobId,
    /// Identifies this state of the document.
    pub version: Version,
    /// What it is filed under: one to four keys.
    pub keys: Vec<Key>,
    /// JSON without white space around it, kept byte for byte: at most
    /// [`max_metadata`](DocumentCapabilities::max_metadata) plus 512 KiB.
    pub body: Vec<u8>,
}

impl fmt::Debug for Document {
    /// Without the body, which is the user's data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Document")
            .field("id", &self.id)
            .field("version", &self.version)
            .field("keys", &self.keys)
            .field("bytes", &self.body.len())
            .finish()
    }
}

/// Tells one state of a document from all others it ever had: a counter, a revision, an ETag.
///
/// Every write makes a new version, even if the bytes stay the same, and even if the document was
/// deleted in between. A counter must therefore be one for the whole store, stored with it, and not
/// one for each document. Times and hashes of the content can't be versions: two writes may share
/// one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Version(pub Vec<u8>);

/// What documents are filed under: 1 to 160 bytes of `a-z 0-9 , . _ -`, ordered bytewise. A key
/// therefore fits into file names and the keys of most buckets.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Arc<str>);

impl Key {
    /// The length of the longest key, in bytes.
    pub const MAX: usize = 160;

    /// A key from its text, as a store kept it.
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A range of keys, ordered by their bytes: `from` is included, `until` is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRange {
    /// The first.
    pub from: Key,
    /// The first that is not in the range.
    pub until: Key,
}

impl KeyRange {
    /// A page of an ordered set: what is filed under keys of the range, beginning after `after`, at
    /// most `limit`. This is all of [`DocumentStore::scan`] for a store that keeps its keys in
    /// memory.
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

    /// Whether a key is in the range.
    pub fn contains(&self, key: &Key) -> bool {
        self.from <= *key && *key < self.until
    }
}

/// The answer to one insert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inserted {
    /// It is stored.
    Inserted,
    /// A document with this id exists.
    Taken,
}

/// The answer to one replace or delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replaced {
    /// The document was replaced or deleted.
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
    /// Whose clock it uses. `Store`: [`DocumentStore::clock`] is one clock for all clients of the
    /// store (a server's, or the host's where all of them are on one host). `Client`: it is not.
    pub clock: ClockSource,
    /// Whether others write to the store too, past this value: another process, or a second value
    /// opened on the same place. If so, their writes are polled for every second. If not (`false`),
    /// waiters are notified at once and nothing is polled for.
    pub shared: bool,
    /// The largest metadata it takes, in bytes. The document around it is at most 512 KiB larger.
    pub max_metadata: usize,
}

impl DocumentCapabilities {
    /// The capabilities of a store of this name and durability that others may write to, each by
    /// its own clock, with 1 MiB of metadata a job; set fields for what differs.
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
