//! [`Bundle`]: a fresh document store, and helpers that keep the cases short.

use std::{fmt, sync::Arc};

use bgjob::{
    JobId,
    store::{Document, DocumentStore, Filed, Inserted, Key, KeyRange, Replaced, Version},
};

use crate::DocumentFixture;

/// What a case of the suite of document stores works with.
pub struct Bundle {
    /// The store under test, empty at first.
    pub documents: Arc<dyn DocumentStore>,
    /// What the store is stored in.
    _fixture: Box<dyn DocumentFixture>,
}

impl fmt::Debug for Bundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bundle")
            .field("documents", &self.documents)
            .finish_non_exhaustive()
    }
}

/// A document with a new id. The store gives it a version.
pub(super) fn new(keys: &[&str], body: &str) -> Document {
    Document {
        id: JobId::new(),
        version: Version::default(),
        keys: keys.iter().copied().map(Key::new).collect(),
        body: body.into(),
    }
}

/// Some documents with nothing special about them, in the order of their ids.
pub(super) fn plain(n: usize) -> Vec<Document> {
    (0..n).map(|_| new(&["plain"], "{}")).collect()
}

/// The replacement of a document that was read.
pub(super) fn changed(read: &Document, keys: &[&str], body: &str) -> Document {
    Document {
        id: read.id,
        version: read.version.clone(),
        ..new(keys, body)
    }
}

/// The same document, with a version that never existed.
pub(super) fn at_no_version(document: &Document) -> Document {
    Document {
        version: Version(b"none".to_vec()),
        ..document.clone()
    }
}

pub(super) fn ids(documents: &[Document]) -> Vec<JobId> {
    documents.iter().map(|document| document.id).collect()
}

pub(super) fn at(document: &Document) -> (JobId, Version) {
    (document.id, document.version.clone())
}

pub(super) fn range(from: &str, until: &str) -> KeyRange {
    KeyRange {
        from: Key::new(from),
        until: Key::new(until),
    }
}

/// Checks that two documents have the same id, body and keys, in any order. Versions may differ.
#[track_caller]
pub(super) fn assert_same(found: &Document, expected: &Document) {
    let sorted = |document: &Document| {
        let mut keys = document.keys.clone();
        keys.sort();
        keys
    };
    assert_eq!(found.id, expected.id);
    assert_eq!(sorted(found), sorted(expected), "the keys of {}", found.id);
    // Not `assert_eq!`, which would print half a megabyte twice.
    let (bytes, asked) = (found.body.len(), expected.body.len());
    assert!(
        found.body == expected.body,
        "the body of {} is another: {bytes} bytes, and {asked} were written",
        found.id
    );
}

impl Bundle {
    pub(crate) fn new(fixture: impl DocumentFixture + 'static) -> Self {
        Self {
            documents: fixture.documents(),
            _fixture: Box::new(fixture),
        }
    }

    pub(super) async fn insert(&self, documents: &[Document]) -> Vec<Inserted> {
        let inserted = self.documents.insert(documents).await;
        inserted.expect("insert answers")
    }

    /// Stores a new document, and reads it.
    pub(super) async fn add(&self, keys: &[&str], body: &str) -> Document {
        let document = new(keys, body);
        self.add_all(std::slice::from_ref(&document)).await;
        self.read(document.id).await
    }

    pub(super) async fn add_all(&self, documents: &[Document]) {
        let answers = self.insert(documents).await;
        assert_eq!(answers, vec![Inserted::Inserted; documents.len()]);
    }

    pub(super) async fn get_all(&self, ids: &[JobId]) -> Vec<Option<Document>> {
        self.documents.get(ids).await.expect("get answers")
    }

    pub(super) async fn get(&self, id: JobId) -> Option<Document> {
        let mut found = self.get_all(&[id]).await;
        assert_eq!(found.len(), 1, "one answer an id");
        found.remove(0)
    }

    /// Reads a document that must be there.
    pub(super) async fn read(&self, id: JobId) -> Document {
        let found = self.get(id).await.expect("it is there");
        assert_eq!(found.id, id, "it was asked for by its id");
        found
    }

    pub(super) async fn replace_all(&self, documents: &[Document]) -> Vec<Replaced> {
        let replaced = self.documents.replace(documents).await;
        replaced.expect("replace answers")
    }

    pub(super) async fn replace(&self, document: &Document) -> Replaced {
        let answers = self.replace_all(std::slice::from_ref(document)).await;
        assert_eq!(answers.len(), 1, "one answer a document");
        answers[0]
    }

    pub(super) async fn delete_all(&self, documents: &[(JobId, Version)]) -> Vec<Replaced> {
        let deleted = self.documents.delete(documents).await;
        deleted.expect("delete answers")
    }

    /// Deletes a document, if it has not changed since it was read.
    pub(super) async fn delete(&self, read: &Document) -> Replaced {
        let answers = self.delete_all(&[at(read)]).await;
        assert_eq!(answers.len(), 1, "one answer a document");
        answers[0]
    }

    pub(super) async fn page(
        &self,
        range: &KeyRange,
        after: Option<&Filed>,
        limit: usize,
    ) -> Vec<Filed> {
        let page = self.documents.scan(range, after, limit).await;
        page.expect("scan answers")
    }

    /// The keys of a range that have documents, in the order of the scan.
    pub(super) async fn keys(&self, from: &str, until: &str) -> Vec<String> {
        let found = self.page(&range(from, until), None, 100).await;
        let text = |(key, _): &Filed| key.as_str().to_owned();
        found.iter().map(text).collect()
    }

    /// The ids of the documents under one key, in the order of the scan.
    pub(super) async fn under(&self, key: &str) -> Vec<JobId> {
        // The end of the range is the first key that sorts after it.
        let found = self.page(&range(key, &format!("{key},")), None, 100).await;
        assert!(found.iter().all(|(found, _)| found.as_str() == key));
        found.into_iter().map(|(_, id)| id).collect()
    }

    pub(super) async fn list(&self, after: Option<JobId>, limit: usize) -> Vec<Document> {
        let page = self.documents.list(after, limit).await;
        page.expect("list answers")
    }

    /// Checks that the document is unchanged, with its version, and filed under its keys.
    pub(super) async fn assert_unchanged(&self, read: &Document) {
        let found = self.read(read.id).await;
        assert_same(&found, read);
        assert_eq!(found.version, read.version, "nothing was written");
        self.assert_filed(read).await;
    }

    /// Checks that the document is found under each of its keys.
    pub(super) async fn assert_filed(&self, document: &Document) {
        for key in &document.keys {
            let found = self.under(key.as_str()).await;
            assert!(found.contains(&document.id), "it is filed under {key:?}");
        }
    }
}
