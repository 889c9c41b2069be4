//! The folder of a store, and what one batch of calls does to it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{self, ErrorKind::NotFound},
    mem,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    Error, ErrorKind, JobId, Result, entropy,
    store::{Document, Filed, Inserted, Key, KeyRange, Replaced, Version},
};

use super::{
    disk::{self, Failed, translate},
    index::{Change, Index, Log},
};

const FORMAT: &str = "bgjob files 1\n";
/// What an unfinished store may contain, whose first process died while it made the store.
const BEGUN: [&str; 3] = ["lock", "format.new", "documents"];

#[derive(Debug)]
pub(super) struct Folder {
    root: PathBuf,
    lock: File,
    index: Index,
    /// A sync failed: the content of the disk is unknown, and this process can't find out.
    broken: bool,
}

/// A document as its file holds it.
#[derive(Serialize, Deserialize)]
pub(super) struct FileDocument<'a> {
    version: String,
    keys: Vec<String>,
    #[serde(borrow)]
    body: &'a RawValue,
}

/// What a batch does to a document.
struct Staged {
    before: Vec<Key>,
    after: Option<Document>,
}

/// Calls that share their syncs and have the folder to themselves.
pub(super) struct Batch<'a> {
    folder: &'a mut Folder,
    staged: BTreeMap<JobId, Staged>,
}

impl Folder {
    /// Opens a store, or makes one in an empty folder.
    pub(super) fn open(root: PathBuf) -> Result<Self> {
        // Checked first, so that no file is left in a folder that belongs to others.
        let others = disk::names(&root).map_err(translate)?;
        if !others.is_empty() && !others.iter().any(|name| name == "lock") {
            return Err(foreign());
        }
        disk::make_root(&root).map_err(Failed::into_error)?;
        refuse_links(&root)?;
        let mut folder = Self {
            index: Index::new(&root),
            lock: open_lock(&root).map_err(translate)?,
            root,
            broken: false,
        };
        folder.locked(Self::check)??;
        Ok(folder)
    }

    /// Refuses a folder that is not a store of ours, or is one of a newer version.
    fn check(&mut self) -> Result<()> {
        refuse_links(&self.root)?;
        let path = self.root.join("format");
        match disk::read(&path).map_err(translate)? {
            Some(format) if format == FORMAT.as_bytes() => Ok(()),
            Some(format) if format.starts_with(b"bgjob files ") => Err(Error::new(
                ErrorKind::Unsupported,
                "a newer version of bgjob made this store: update the program",
            )),
            Some(_) => Err(Error::invalid(
                "the folder has a file `format` that is not bgjob's: give another folder",
            )),
            None => {
                let begun = disk::names(&self.root).map_err(translate)?;
                let documents = self.documents();
                let inside = disk::names(&documents).map_err(translate)?;
                if begun.iter().any(|name| !BEGUN.contains(&&**name)) || !inside.is_empty() {
                    return Err(foreign());
                }
                disk::make_folder(&documents).map_err(translate)?;
                disk::replace(&path, FORMAT.as_bytes()).map_err(|f| self.failed(f))
            }
        }
    }

    /// Runs `work` with the folder to itself, other processes excluded too.
    pub(super) fn locked<T>(&mut self, work: impl FnOnce(&mut Self) -> T) -> Result<T> {
        if self.broken {
            return Err(Error::new(
                ErrorKind::Unavailable,
                "the disk failed to write: what it has is unknown, so restart the program",
            ));
        }
        self.lock().map_err(translate)?;
        let done = work(self);
        self.lock.unlock().map_err(translate)?;
        Ok(done)
    }

    fn lock(&mut self) -> io::Result<()> {
        let path = self.root.join("lock");
        loop {
            self.lock.lock()?;
            match disk::is_at(&self.lock, &path) {
                Ok(true) => return Ok(()),
                // Somebody deleted the folder, and another process made it anew.
                Ok(false) => {
                    refuse_links(&self.root).map_err(io::Error::other)?;
                    self.lock = open_lock(&self.root)?;
                    self.index = Index::new(&self.root);
                }
                Err(error) => return self.lock.unlock().and(Err(error)),
            }
        }
    }

    /// Runs calls as a batch and returns when their changes are on the disk.
    pub(super) fn batch<T>(&mut self, run: impl FnOnce(&mut Batch<'_>) -> T) -> Result<T> {
        self.locked(|folder| {
            folder.catch_up().map_err(|f| folder.failed(f))?;
            let mut batch = Batch {
                folder,
                staged: BTreeMap::new(),
            };
            let done = run(&mut batch);
            let Batch { folder, staged } = batch;
            folder.write(&staged).map_err(|f| folder.failed(f))?;
            Ok(done)
        })?
    }

    /// After a panic: forgets what may be half done, and lets other processes in.
    pub(super) fn recover(&mut self) {
        self.index = Index::new(&self.root);
        let _ = self.lock.unlock();
    }

    fn failed(&mut self, failed: Failed) -> Error {
        self.broken |= matches!(failed, Failed::Sync(_));
        failed.into_error()
    }

    /// Reads what other processes have logged, and finishes a batch within which one of them died.
    fn catch_up(&mut self) -> Result<(), Failed> {
        match self.index.refresh()? {
            Log::Known if self.index.is_long() => self.index.compact(),
            Log::Known => Ok(()),
            Log::Unfinished { batch, size } => self.settle(batch, size),
            Log::Unusable => self.rebuild(),
        }
    }

    /// Finishes a batch within which a process died: the documents say how far it came. The process
    /// may have died before the folders were synced, so they are synced before anything that is
    /// seen now is reported.
    fn settle(&mut self, batch: Vec<Change>, size: u64) -> Result<(), Failed> {
        let (mut settled, mut groups) = (Vec::new(), BTreeSet::new());
        for change in &batch {
            let id = change.filed.1;
            let path = self.path(id);
            disk::remove(&path.with_extension("new"))?;
            let document = self.read(id)?;
            settled.push(change.settled(document.as_ref()));
            groups.insert(group_of(&path));
        }
        self.sync(&groups)?;
        self.index.settle(batch, size, settled)
    }

    /// Syncs these groups, and the folder that lists all groups.
    fn sync(&self, groups: &BTreeSet<PathBuf>) -> Result<(), Failed> {
        groups
            .iter()
            .try_for_each(|group| disk::sync_folder(group))?;
        disk::sync_folder(&self.documents())
    }

    fn rebuild(&mut self) -> Result<(), Failed> {
        // Fails where the folder is gone: it must not be made anew.
        fs::metadata(self.root.join("format"))?;
        let (mut filed, mut groups) = (BTreeSet::new(), BTreeSet::new());
        for group in disk::names(&self.documents())? {
            for id in self.ids(&group)? {
                let document = self.read(id)?;
                let keys = document.into_iter().flat_map(|document| document.keys);
                filed.extend(keys.map(|key| (key, id)));
                groups.insert(self.documents().join(&group));
            }
        }
        self.sync(&groups)?;
        self.index.write_anew(filed)
    }

    fn documents(&self) -> PathBuf {
        self.root.join("documents")
    }

    /// The ids of a group of documents, in order.
    fn ids(&self, group: &str) -> io::Result<Vec<JobId>> {
        let names = disk::names(&self.documents().join(group))?;
        let id = |name: &String| id_of(group, name);
        Ok(names.iter().filter_map(id).collect())
    }

    fn path(&self, id: JobId) -> PathBuf {
        path(&self.root, id)
    }

    /// A document. One that can't be read is returned empty and without a version, and is left
    /// alone.
    fn read(&self, id: JobId) -> io::Result<Option<Document>> {
        let document = |bytes: Vec<u8>| match FileDocument::read(&bytes) {
            Some(page) => page.into_document(id),
            None => unreadable(id),
        };
        match disk::read(&self.path(id)) {
            Ok(bytes) => Ok(bytes.map(document)),
            // One file that can't be read (a missing permission, a bad sector) is no reason to
            // stop.
            Err(error) if disk::is_its_own(&error) => Ok(Some(unreadable(id))),
            Err(error) => Err(error),
        }
    }

    /// Whether there is anything where a document would be.
    fn is_taken(&self, id: JobId) -> io::Result<bool> {
        match fs::symlink_metadata(self.path(id)) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn write(&mut self, staged: &BTreeMap<JobId, Staged>) -> Result<(), Failed> {
        if staged.is_empty() {
            return Ok(());
        }
        let mut changes = Vec::new();
        for (id, Staged { before, after }) in staged {
            let after = after.as_ref().map_or(&[][..], |document| &document.keys);
            changes.extend(Change::between(*id, before, after));
        }
        // First the keys that lead to the documents, and the new documents beside the old ones.
        let mut files = vec![self.index.begin(&changes)?.try_clone()?];
        let (mut groups, mut made) = (BTreeSet::new(), false);
        for (id, Staged { after, .. }) in staged {
            let path = self.path(*id);
            let group = group_of(&path);
            if let Some(document) = after {
                if !groups.contains(&group) && !disk::is_folder(&group)? {
                    disk::make_folder(&group)?;
                    made = true;
                }
                let new = path.with_extension("new");
                files.push(disk::write(&new, &FileDocument::write(document))?);
                if files.len() == disk::OPEN {
                    disk::sync(&mem::take(&mut files))?;
                }
            }
            groups.insert(group);
        }
        disk::sync(&files)?;
        // Then the new ones replace the old ones: each document is there or not, never half.
        for (id, Staged { after, .. }) in staged {
            let path = self.path(*id);
            match after {
                Some(_) => disk::rename(&path.with_extension("new"), &path)?,
                None => disk::remove(&path)?,
            }
        }
        if made {
            self.sync(&groups)?;
        } else {
            groups
                .iter()
                .try_for_each(|group| disk::sync_folder(group))?;
        }
        self.index.finish(changes)?;
        self.tidy(&groups, staged);
        Ok(())
    }

    /// Removes folders that may be empty now. A folder that is not empty stays.
    fn tidy(&self, groups: &BTreeSet<PathBuf>, staged: &BTreeMap<JobId, Staged>) {
        if staged.values().any(|staged| staged.after.is_none()) {
            for group in groups {
                let _ = fs::remove_dir(group);
            }
        }
    }
}

/// The file of a document.
pub(super) fn path(root: &Path, id: JobId) -> PathBuf {
    let name = id.to_string();
    disk::within(root, &["documents", group(&name), &name]).with_extension("json")
}

/// The id of the document that a file of this name in this group is, if it is one. An id has other
/// spellings, and a copy of a file is not a document.
pub(super) fn id_of(group_name: &str, name: &str) -> Option<JobId> {
    let name = name.strip_suffix(".json")?;
    let id: JobId = name.parse().ok()?;
    let spelled = id.to_string();
    (spelled == name && group(&spelled) == group_name).then_some(id)
}

fn group_of(path: &Path) -> PathBuf {
    path.parent().expect("a document is in a group").to_owned()
}

/// Refuses links, before anything is opened through one.
fn refuse_links(root: &Path) -> Result<()> {
    for name in ["lock", "index.log", "documents"] {
        if root.join(name).is_symlink() {
            return Err(Error::invalid(format!(
                "`{name}` is a link, which may lead out of the folder: give another folder"
            )));
        }
    }
    Ok(())
}

fn open_lock(root: &Path) -> io::Result<File> {
    disk::private()
        .create(true)
        .append(true)
        .open(root.join("lock"))
}

fn foreign() -> Error {
    Error::invalid("the folder is not empty and no store of bgjob: give another folder")
}

fn unreadable(id: JobId) -> Document {
    Document {
        id,
        version: Version::default(),
        keys: Vec::new(),
        body: Vec::new(),
    }
}

/// The folder of a document. Ids begin with their time, so a folder holds 17 minutes.
fn group(name: &str) -> &str {
    &name[..7]
}

/// Whether a key, or a version, is valid: somebody may have edited the file, and both the log and
/// the file must stay readable.
fn is_key(key: &str) -> bool {
    let fits =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b",._-".contains(&byte);
    !key.is_empty() && key.len() <= Key::MAX && key.bytes().all(fits)
}

impl<'a> FileDocument<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        let page: Self = serde_json::from_slice(bytes).ok()?;
        let whole = page.keys.iter().all(|key| is_key(key)) && is_key(&page.version);
        whole.then_some(page)
    }

    pub(super) fn into_document(self, id: JobId) -> Document {
        Document {
            id,
            version: Version(self.version.into_bytes()),
            keys: self.keys.into_iter().map(Key::new).collect(),
            body: self.body.get().as_bytes().to_vec(),
        }
    }

    /// Written by hand: the body is JSON already, and the rest has nothing to escape.
    pub(super) fn write(document: &Document) -> Vec<u8> {
        let version = String::from_utf8_lossy(&document.version.0);
        let quoted = |key: &Key| format!(r#""{}""#, key.as_str());
        let keys: Vec<_> = document.keys.iter().map(quoted).collect();
        let keys = keys.join(",");
        let mut page = format!(r#"{{"version":"{version}","keys":[{keys}],"body":"#).into_bytes();
        page.extend_from_slice(&document.body);
        page.extend_from_slice(b"}\n");
        page
    }
}

impl Batch<'_> {
    pub(super) fn get(&self, id: JobId) -> Result<Option<Document>> {
        if let Some(staged) = self.staged.get(&id) {
            return Ok(staged.after.clone());
        }
        self.folder.read(id).map_err(translate)
    }

    pub(super) fn insert(&mut self, document: &Document) -> Result<Inserted> {
        let id = document.id;
        let taken = match self.staged.get(&id) {
            Some(staged) => staged.after.is_some(),
            None => self.folder.is_taken(id).map_err(translate)?,
        };
        if taken {
            return Ok(Inserted::Taken);
        }
        self.stage(id, Vec::new(), Some(document));
        Ok(Inserted::Inserted)
    }

    pub(super) fn replace(&mut self, document: &Document) -> Result<Replaced> {
        self.change(document.id, &document.version, Some(document))
    }

    pub(super) fn delete(&mut self, id: JobId, version: &Version) -> Result<Replaced> {
        self.change(id, version, None)
    }

    fn change(
        &mut self,
        id: JobId,
        version: &Version,
        after: Option<&Document>,
    ) -> Result<Replaced> {
        match self.get(id)? {
            // A document that can't be read has no version.
            Some(before) if before.version == *version && !version.0.is_empty() => {
                self.stage(id, before.keys, after);
                Ok(Replaced::Replaced)
            }
            _ => Ok(Replaced::Conflict),
        }
    }

    fn stage(&mut self, id: JobId, before: Vec<Key>, after: Option<&Document>) {
        let after = after.map(|document| Document {
            version: fresh(),
            ..document.clone()
        });
        // The keys on the disk stay the same until the batch is written, so `before` is kept.
        let staged = self.staged.entry(id).or_insert(Staged {
            before,
            after: None,
        });
        staged.after = after;
    }

    pub(super) fn scan(&self, range: &KeyRange, after: Option<&Filed>, limit: usize) -> Vec<Filed> {
        self.folder.index.scan(range, after, limit)
    }

    pub(super) fn list(&self, after: Option<JobId>, limit: usize) -> Result<Vec<Document>> {
        let mut documents = Vec::new();
        let first = after.map(|id| id.to_string());
        let first = first.as_deref().map(group);
        for name in disk::names(&self.folder.documents()).map_err(translate)? {
            if first.is_some_and(|first| name.as_str() < first) {
                continue;
            }
            for id in self.folder.ids(&name).map_err(translate)? {
                if documents.len() == limit {
                    return Ok(documents);
                }
                if after.is_none_or(|after| after < id) {
                    documents.extend(self.folder.read(id).map_err(translate)?);
                }
            }
        }
        Ok(documents)
    }
}

fn fresh() -> Version {
    let number = u64::from_le_bytes(entropy::bytes());
    Version(format!("{number:016x}").into_bytes())
}
