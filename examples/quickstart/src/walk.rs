//! Finds the files of a tree.

use std::path::{Path, PathBuf};

use bgjob::BoxError;
use tokio::sync::mpsc;
use walkdir::{DirEntry, WalkDir};

use crate::path::FilePath;

/// Files enqueued at a time: as many as one batch to a store takes.
const BATCH: usize = 1000;

/// The tree whose files are hashed.
#[derive(Debug, Clone)]
pub struct Tree {
    /// As the user wrote it: what the paths of the report begin with.
    shown: PathBuf,
    /// Absolute and without links, so that every way to write it names the same jobs.
    root: PathBuf,
    /// Left out, with all that is in it.
    skip: Vec<PathBuf>,
}

/// What a walk met beside files.
#[derive(Debug, Default)]
pub struct Walked {
    /// Links, sockets, devices …
    pub passed_over: usize,
    /// Directories that could not be read, and why.
    pub unreadable: Vec<String>,
}

impl Tree {
    /// The tree in a directory; without one: this repository.
    pub fn new(dir: Option<PathBuf>) -> Result<Self, BoxError> {
        let package = Path::new(env!("CARGO_MANIFEST_DIR"));
        let repository = package.ancestors().nth(2).unwrap_or(package);
        let shown = dir.clone().unwrap_or_else(|| repository.to_path_buf());
        let refuse = |why| format!("{} can't be hashed: {why}", shown.display());
        let root = shown
            .canonicalize()
            .map_err(|error| refuse(error.to_string()))?;
        if !root.is_dir() {
            return Err(refuse("it is no directory".to_owned()).into());
        }
        let skip = match dir {
            Some(_) => Vec::new(),
            None => [".git", "target"].map(|name| root.join(name)).into(),
        };
        Ok(Self { shown, root, skip })
    }

    /// Leaves out a file that need not be there.
    pub fn skip(&mut self, file: &Path) {
        let folder = match file.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        if let (Ok(folder), Some(name)) = (folder.canonicalize(), file.file_name()) {
            self.skip.push(folder.join(name));
        }
    }

    /// The queue of this tree's jobs. One a tree, so that one store can hold several.
    pub fn queue(&self) -> String {
        format!("files-{}", FilePath::new(&self.root).job_id())
    }

    /// A path as the user would write it.
    pub fn shown(&self, path: &Path) -> PathBuf {
        match path.strip_prefix(&self.root) {
            Ok(inner) => self.shown.join(inner),
            Err(_) => path.to_path_buf(),
        }
    }

    /// Sends all files, batch by batch, as fast as they are taken. Ends when nobody takes them any
    /// more. Blocks: it belongs on a thread of its own.
    pub fn walk(&self, batches: &mpsc::Sender<Vec<FilePath>>) -> Walked {
        let mut walked = Walked::default();
        let mut batch = Vec::new();
        let wanted = |entry: &DirEntry| !self.skip.iter().any(|skip| skip == entry.path());
        for entry in WalkDir::new(&self.root).into_iter().filter_entry(wanted) {
            match entry {
                Ok(entry) if entry.file_type().is_file() => batch.push(FilePath::new(entry.path())),
                Ok(entry) if entry.file_type().is_dir() => {}
                Ok(_) => walked.passed_over += 1,
                Err(error) => walked
                    .unreadable
                    .push(error.to_string().escape_debug().to_string()),
            }
            if batch.len() == BATCH && batches.blocking_send(std::mem::take(&mut batch)).is_err() {
                return walked;
            }
        }
        // Whoever stopped listening has stopped the whole program.
        let _ = batches.blocking_send(batch);
        walked
    }
}

/// The files an SQLite store consists of; none for other stores.
pub fn store_files(url: &str) -> Vec<PathBuf> {
    let Some(path) = url.strip_prefix("sqlite:") else {
        return Vec::new();
    };
    let path = path.strip_prefix("//").unwrap_or(path);
    let path = path.split('?').next().unwrap_or(path);
    ["", "-wal", "-shm", "-journal"]
        .map(|end| PathBuf::from(format!("{path}{end}")))
        .into()
}
