//! For fuzz targets only: the parts that read what others may have written.

use std::path::{Path, PathBuf};

use crate::{Error, JobId, store::Document};

use super::folder::{self, FileDocument};

/// A file as a document under this id, `None` where it is not one.
pub fn read(bytes: &[u8], id: JobId) -> Option<Document> {
    Some(FileDocument::read(bytes)?.into_document(id))
}

/// A document as its file.
pub fn write(document: &Document) -> Vec<u8> {
    FileDocument::write(document)
}

/// The id of the document that a file of this name in this group is, if it is one.
pub fn id_of(group: &str, name: &str) -> Option<JobId> {
    folder::id_of(group, name)
}

/// The file of a document.
pub fn path(root: &Path, id: JobId) -> PathBuf {
    folder::path(root, id)
}

/// The folder of a URL.
///
/// # Errors
/// As [`FileStore::open_url`](super::FileStore::open_url).
pub fn folder_of(url: &str) -> Result<&str, Error> {
    super::folder_of(url)
}
