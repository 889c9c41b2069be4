//! How a database is opened.

use std::{path::PathBuf, sync::Arc};

use bgjob_core::{Clock, Error, ErrorKind, Result, SystemClock};

use super::SqliteStore;

/// When SQLite syncs the file to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sync {
    /// At each commit: acknowledged commits survive a power failure.
    #[default]
    Full,
    /// From time to time: a power failure may lose the last commits, a crash of the process does
    /// not.
    Normal,
}

/// How a database is opened.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// # let folder = std::env::temp_dir().join(bgjob::JobId::new().to_string());
/// # std::fs::create_dir(&folder).unwrap();
/// use bgjob::providers::sqlite::{SqliteOptions, Sync};
///
/// let options = SqliteOptions::new(folder.join("jobs.db")).sync(Sync::Normal);
/// let store = options.open().await?;
/// # drop(store);
/// # std::fs::remove_dir_all(&folder).unwrap();
/// # Ok::<(), bgjob::Error>(()) }).unwrap();
/// ```
#[derive(Debug, Clone)]
pub struct SqliteOptions {
    pub(super) path: PathBuf,
    pub(super) sync: Sync,
    pub(super) clock: Arc<dyn Clock>,
}

impl SqliteOptions {
    /// The database at this path. The file is created if there is none; its folder must exist.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            sync: Sync::default(),
            clock: Arc::new(SystemClock),
        }
    }

    /// Reads a URL: `sqlite:path`, `sqlite:path?sync=normal`. The path is taken literally, up to
    /// the first `?`.
    ///
    /// # Errors
    /// `InvalidInput` for text that is not such a URL, `Unsupported` for a database in memory.
    pub fn from_url(url: &str) -> Result<Self> {
        let rest = url
            .strip_prefix("sqlite:")
            .ok_or_else(|| Error::invalid("the URL of an SQLite database is `sqlite:path`"))?;
        let rest = rest.strip_prefix("//").unwrap_or(rest);
        let (path, options) = rest.split_once('?').unwrap_or((rest, ""));
        if let Some(file) = path.strip_prefix("file:") {
            let file = file.trim_start_matches('/');
            return Err(
                Error::invalid("the path is no URI of SQLite's: leave its `file:` out")
                    .with("path", format!("sqlite:{file}")),
            );
        }
        if path.is_empty() {
            return Err(Error::invalid(
                "the URL names no file: it is `sqlite:path/to/jobs.db`",
            ));
        }
        let this = Self::new(path);
        this.check()?;
        options
            .split('&')
            .filter(|option| !option.is_empty())
            .try_fold(this, |this, option| {
                match option.split_once('=').unwrap_or((option, "")) {
                    ("sync", "full") => Ok(this.sync(Sync::Full)),
                    ("sync", "normal") => Ok(this.sync(Sync::Normal)),
                    ("sync", _) => Err(Error::invalid("`sync` is `full` or `normal`")),
                    (unknown, _) => Err(Error::invalid("a `sqlite:` URL has one option, `sync`")
                        .with("option", unknown.escape_debug())),
                }
            })
    }

    /// Checks whether the path can be that of a database.
    pub(super) fn check(&self) -> Result<()> {
        if self.path.as_os_str() == ":memory:" {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "SQLite in memory is not offered: `memory:` is a store made for that",
            ));
        }
        let ends_as_folder = self
            .path
            .to_string_lossy()
            .ends_with(std::path::is_separator);
        if ends_as_folder || self.path.is_dir() {
            return Err(Error::invalid(
                "the path is that of a folder: add the name of the database's file",
            )
            .with("path", self.path.display()));
        }
        Ok(())
    }

    /// When the file is synced to the disk.
    #[must_use]
    pub const fn sync(mut self, sync: Sync) -> Self {
        self.sync = sync;
        self
    }

    /// The clock. By default the host's; tests may set another.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Opens the store.
    ///
    /// # Errors
    /// As [`SqliteStore::open`].
    pub async fn open(self) -> Result<SqliteStore> {
        SqliteStore::start(self).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str, says: &str) {
        let error = SqliteOptions::from_url(url).expect_err(url);
        assert!(error.to_string().contains(says), "{url}: {error}");
    }

    #[test]
    fn urls() {
        let options =
            SqliteOptions::from_url("sqlite:a b/jobs.db?sync=normal").expect("it is right");
        assert_eq!(
            (options.path, options.sync),
            ("a b/jobs.db".into(), Sync::Normal)
        );
        let options = SqliteOptions::from_url("sqlite:///var/jobs.db").expect("it is right");
        assert_eq!(
            (options.path, options.sync),
            ("/var/jobs.db".into(), Sync::Full)
        );
        check("postgres://x", "sqlite:path");
        check("sqlite:", "names no file");
        check("sqlite:?sync=full", "names no file");
        check("sqlite::memory:", "`memory:`");
        check("sqlite:folder/", "that of a folder");
        check("sqlite:/", "that of a folder");
        check(
            "sqlite:file:jobs.db",
            "leave its `file:` out (path: sqlite:jobs.db)",
        );
        check("sqlite:file:jobs.db?mode=rw", "leave its `file:` out");
        check("sqlite:jobs.db?sync=off", "`full` or `normal`");
        check(
            "sqlite:jobs.db?mode=ro",
            "one option, `sync` (option: mode)",
        );
    }
}
