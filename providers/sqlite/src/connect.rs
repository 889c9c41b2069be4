//! Opening a database, and noticing when its file is gone.

use std::{
    fs::OpenOptions,
    path::Path,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, OpenFlags, config::DbConfig};

use bgjob_core::{Error, ErrorKind, Result};

use super::{
    error::translate,
    lanes::Lanes,
    options::{SqliteOptions, Sync},
};

/// How long a statement waits for another process's transaction. A call may also have to wait for
/// the batch before its own, and both together must take less than the 10 s that a dispatcher waits
/// for a call: then the dispatcher gets "the database is locked" instead of no answer.
const BUSY: Duration = Duration::from_secs(4);

/// The oldest SQLite without the bug that damages databases in WAL mode when two connections write
/// and checkpoint at once. The bundled SQLite is newer, but a program can link another one.
const OLDEST: i32 = 3_051_003;

/// A connection, and what is known of its database.
#[derive(Debug)]
pub(super) struct Db {
    pub(super) db: Connection,
    pub(super) lanes: Lanes,
    file: FileId,
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// The first connection: creates the file if there is none.
    Create,
    /// Writes to a file that must exist.
    Write,
    /// Only reads.
    Read,
}

impl Db {
    /// Opens a database. An error names its file.
    pub(super) fn open(options: &SqliteOptions, purpose: Use) -> Result<Self> {
        let path = options.path.as_path();
        if purpose != Use::Create && FileId::of(path).is_none() {
            return Err(gone(path));
        }
        Self::connect(options, purpose).map_err(|error| error.with("file", path.display()))
    }

    fn connect(options: &SqliteOptions, purpose: Use) -> Result<Self> {
        if rusqlite::version_number() < OLDEST {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "this program is linked with an SQLite older than 3.51.3, which can damage \
                 databases that several connections write to: use the bundled one",
            )
            .with("version", rusqlite::version()));
        }
        let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        flags.set(OpenFlags::SQLITE_OPEN_CREATE, purpose == Use::Create);
        let path = options.path.as_path();
        if purpose == Use::Create {
            make_private(path);
        }
        let db = Connection::open_with_flags(path, flags).map_err(translate)?;
        let file = FileId::of(path).ok_or_else(|| gone(path))?;
        set_up(&db, options, purpose).map_err(translate)?;
        if db.is_readonly(rusqlite::MAIN_DB).map_err(translate)? {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "the database can only be read: give this process the right to write to the file",
            ));
        }
        Ok(Self {
            db,
            lanes: Lanes::default(),
            file,
        })
    }

    /// Returns an error if the file was deleted or replaced since it was opened. SQLite itself
    /// would go on writing to a file that nobody can open again.
    pub(super) fn check(&self, path: &Path) -> Result<()> {
        if FileId::of(path).as_ref() == Some(&self.file) {
            Ok(())
        } else {
            Err(gone(path))
        }
    }
}

/// Creates the file of a new database, readable by its owner only: SQLite would create it readable
/// for all. The files beside it take the same mode.
fn make_private(path: &Path) {
    // Closing a file also releases the locks that other connections of this process hold on it. So
    // nobody in this process may open the file before it is closed here, and a file that exists is
    // not opened here at all.
    static MAKING: Mutex<()> = Mutex::new(());
    let _alone = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    let mut new = OpenOptions::new();
    new.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut new, 0o600);
    // An error here comes up again, with a message, when SQLite opens the file.
    drop(new.open(path));
}

fn gone(path: &Path) -> Error {
    Error::new(
        ErrorKind::Unavailable,
        "the database file was moved or deleted: put it back, and its `-wal` with it",
    )
    .with("file", path.display())
}

fn set_up(db: &Connection, options: &SqliteOptions, purpose: Use) -> rusqlite::Result<()> {
    db.busy_timeout(BUSY)?;
    db.set_prepared_statement_cache_capacity(64);
    // Without this setting SQLite plans a statement with a bound LIMIT anew at each call: 0.3 ms a
    // claim.
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    if purpose == Use::Read {
        return db.execute_batch("PRAGMA query_only = ON");
    }
    db.busy_handler(Some(wait))?;
    use_wal(db)?;
    let sync = match options.sync {
        Sync::Full => "FULL",
        Sync::Normal => "NORMAL",
    };
    db.pragma_update(None, "synchronous", sync)?;
    // Needed where a plain sync leaves data in the disk's own cache (macOS). No effect elsewhere.
    db.execute_batch("PRAGMA fullfsync = ON; PRAGMA checkpoint_fullfsync = ON")?;
    db.execute_batch(
        "PRAGMA cache_size = -16384; PRAGMA mmap_size = 0; PRAGMA temp_store = MEMORY;
         PRAGMA wal_autocheckpoint = 4000; PRAGMA journal_size_limit = 67108864;",
    )
}

/// Switches to WAL, with retries. If several connections create a database at once, SQLite returns
/// "locked" without asking the busy handler, as it suspects a deadlock between two readers that
/// both want to write.
fn use_wal(db: &Connection) -> rusqlite::Result<()> {
    let mut turn = 0;
    loop {
        match db.pragma_update(None, "journal_mode", "WAL") {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => {
                if !wait(turn) {
                    return Err(error);
                }
                turn += 1;
            }
            done => return done,
        }
    }
}

/// The busy handler. SQLite's own comes to wait 100 ms between two tries, and a busy neighbour
/// takes the lock in between again and again. Trying each millisecond gets a turn.
fn wait(turn: i32) -> bool {
    std::thread::sleep(Duration::from_millis(1));
    Duration::from_millis(u64::try_from(turn).unwrap_or(0)) < BUSY
}

/// The identity of the file that a path leads to.
#[derive(Debug, PartialEq, Eq)]
struct FileId(u64, u64);

impl FileId {
    fn of(path: &Path) -> Option<Self> {
        let data = std::fs::metadata(path).ok()?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            Some(Self(data.dev(), data.ino()))
        }
        // On these systems an open file can't be deleted.
        #[cfg(not(unix))]
        {
            let _ = data;
            Some(Self(0, 0))
        }
    }
}
