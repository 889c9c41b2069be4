//! Files and folders that are on the disk when a call returns.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{
        self,
        ErrorKind::{AlreadyExists, NotADirectory, NotFound},
        Write,
    },
    path::{Path, PathBuf},
    thread,
};

#[cfg(test)]
use super::trace::note;
use crate::{Error, ErrorKind};

/// How many threads sync files at the same time: a file system writes several files through with
/// one commit.
const THREADS: usize = 8;

/// How many files are written, synced and closed before the next ones are begun: far fewer than a
/// process may usually have open (macOS: 256), and enough to share the commits of the file system.
pub(super) const OPEN: usize = 128;

/// The largest file that is read, in bytes: several times the size of the largest document.
const LARGEST: u64 = 8 * 1024 * 1024;

/// What failed, for callers that have to know whether the disk has what it was given.
#[derive(Debug)]
pub(super) enum Failed {
    /// It can be tried again.
    Io(io::Error),
    /// A sync failed: the content of the disk is unknown, and a second sync would not tell.
    Sync(io::Error),
}

impl Failed {
    pub(super) fn into_error(self) -> Error {
        match self {
            Self::Io(error) | Self::Sync(error) => translate(error),
        }
    }
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// An error of the file system as one of ours.
pub(super) fn translate(error: io::Error) -> Error {
    if error.kind() == io::ErrorKind::FileTooLarge {
        let text = "a document is larger than any that is read";
        return Error::new(ErrorKind::InvalidInput, text).because(error);
    }
    let message = match error.kind() {
        _ if is_out_of_files(&error) => {
            "too many files are open: raise the limit of the process (`ulimit -n`)"
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "the disk of the store is full: free some space"
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "the store can't be written: check the permissions of its folder and files"
        }
        NotADirectory => {
            "a file or a link stands where the store has a folder: put it somewhere else"
        }
        NotFound => "the folder of the store was moved or deleted: put it back",
        _ => "reading or writing the folder of the store failed",
    };
    Error::new(ErrorKind::Unavailable, message).because(error)
}

/// Whether the process, or the system, has as many files open as its limit allows (`EMFILE`,
/// `ENFILE`).
fn is_out_of_files(error: &io::Error) -> bool {
    cfg!(unix) && matches!(error.raw_os_error(), Some(23 | 24))
}

/// Whether an error concerns only this one file, and not the next.
pub(super) fn is_its_own(error: &io::Error) -> bool {
    !is_out_of_files(error) && error.kind() != io::ErrorKind::OutOfMemory
}

/// Makes a folder that only its owner may enter, if it does not exist. Its parent is not synced.
pub(super) fn make_folder(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Makes a folder and all missing folders above it, and writes them through to the disk.
pub(super) fn make_root(path: &Path) -> Result<(), Failed> {
    let missing: Vec<_> = path
        .ancestors()
        .take_while(|above| !is_there(above))
        .collect();
    make_folder(path)?;
    missing
        .into_iter()
        .try_for_each(|made| match made.parent() {
            Some(above) if above.as_os_str().is_empty() => sync_folder(Path::new(".")),
            Some(above) => sync_folder(above),
            None => Ok(()),
        })
}

fn is_there(path: &Path) -> bool {
    path.as_os_str().is_empty() || path.exists()
}

/// Whether this is a folder. A link to one leads out of the store and is an error.
pub(super) fn is_folder(path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => Ok(true),
        Ok(_) => Err(NotADirectory.into()),
        Err(error) if error.kind() == NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether an open file is still the one at this path. On Windows it always is: an open file can't
/// be deleted there.
pub(super) fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let (one, other) = (file.metadata()?, fs::metadata(path)?);
        Ok((one.dev(), one.ino()) == (other.dev(), other.ino()))
    }
    #[cfg(not(unix))]
    {
        let _ = (file, path);
        Ok(true)
    }
}

/// Options for files that only their owner may read.
pub(super) fn private() -> OpenOptions {
    #[cfg(not(unix))]
    let options = OpenOptions::new();
    #[cfg(unix)]
    let options = {
        let mut options = OpenOptions::new();
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options
    };
    options
}

/// Writes a file. A later [`sync`] writes it through to the disk.
pub(super) fn write(path: &Path, bytes: &[u8]) -> io::Result<File> {
    if bytes.len() as u64 > LARGEST {
        let text = format!(
            "{} bytes are more than the {LARGEST} that are read",
            bytes.len()
        );
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
    }
    let mut create = private();
    create.write(true).create_new(true);
    // An existing file is half a file of a process that died, or a link that leads out of the
    // store: it is replaced, not written to.
    let mut file = match create.open(path) {
        Err(error) if error.kind() == AlreadyExists => {
            remove(path)?;
            create.open(path)?
        }
        opened => opened?,
    };
    file.write_all(bytes)?;
    note("write", path);
    Ok(file)
}

/// Puts a file in the place of another. Its content was synced before.
pub(super) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    note("rename", to);
    fs::rename(from, to)
}

/// Replaces a file as a whole, through to the disk.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> Result<(), Failed> {
    let new = path.with_extension("new");
    sync(&[write(&new, bytes)?])?;
    rename(&new, path)?;
    let folder = path.parent().expect("the path is one within the store");
    sync_folder(folder)
}

/// Syncs files, several at a time.
pub(super) fn sync(files: &[File]) -> Result<(), Failed> {
    note("sync files", Path::new(&files.len().to_string()));
    let each = files.len().div_ceil(THREADS).max(1);
    let all = |files: &[File]| files.iter().try_for_each(File::sync_all);
    thread::scope(|scope| {
        let mut parts = files.chunks(each);
        let own = parts.next().unwrap_or_default();
        let others: Vec<_> = parts.map(|part| scope.spawn(move || all(part))).collect();
        let own = all(own);
        others.into_iter().fold(own, |done, other| {
            done.and(other.join().expect("it does not panic"))
        })
    })
    .map_err(Failed::Sync)
}

/// Writes a folder's entries through to the disk, if it is there.
pub(super) fn sync_folder(path: &Path) -> Result<(), Failed> {
    // Windows opens no folders: the store declares less there.
    if cfg!(windows) {
        return Ok(());
    }
    note("sync", path);
    match File::open(path) {
        Ok(folder) => folder.sync_all().map_err(Failed::Sync),
        // A folder that is gone has no entries.
        Err(error) if error.kind() == NotFound => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Removes a file. A file that is already gone is not an error.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    fs::remove_file(path).or_else(|error| {
        if error.kind() == NotFound {
            Ok(())
        } else {
            Err(error)
        }
    })
}

/// The content of a file, `None` where there is none. The content is empty where the file can't be
/// one of ours: a folder, a link to elsewhere, a pipe that would block, more than memory can hold.
pub(super) fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let read = || {
        let found = fs::symlink_metadata(path)?;
        if found.is_file() && found.len() <= LARGEST {
            fs::read(path)
        } else {
            Ok(Vec::new())
        }
    };
    match read() {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The names in a folder, in order; none where there is no folder.
pub(super) fn names(path: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        // A file that belongs to others may stand where we would have a folder.
        Err(error) if matches!(error.kind(), NotFound | NotADirectory) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in entries {
        // A name that is not UTF-8 is not one of ours.
        names.extend(entry?.file_name().into_string().ok());
    }
    names.sort_unstable();
    Ok(names)
}

/// A path within the store.
pub(super) fn within(root: &Path, parts: &[&str]) -> PathBuf {
    parts
        .iter()
        .fold(root.to_owned(), |path, part| path.join(part))
}

/// Tests record what is done, in order.
#[cfg(not(test))]
fn note(_: &str, _: &Path) {}
