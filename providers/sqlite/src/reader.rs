//! The reader thread. It has a connection of its own, so that a long list does not hold up the
//! writer.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
};

use tokio::sync::oneshot;

use bgjob_core::{Error, ErrorKind, Job, JobId, Result, toolkit::Worker};

use super::{
    connect::{Db, Use},
    error::translate,
    options::SqliteOptions,
    rows::{self, Found},
    value::get,
};

type Read = Box<dyn FnOnce(Result<&mut Db>) + Send>;

/// The handle of the reader thread. Dropping the handle ends the thread.
#[derive(Debug)]
pub(super) struct Reader {
    worker: Worker<Read>,
    path: PathBuf,
}

impl Reader {
    /// Starts the thread, which connects at the first call.
    pub(super) fn start(options: SqliteOptions) -> Result<Self> {
        let path = options.path.clone();
        let worker = Worker::<Read>::start("bgjob-sqlite-reader", move |inbox| {
            let mut db = None;
            for read in inbox {
                let connected = connected(&mut db, &options);
                if catch_unwind(AssertUnwindSafe(|| read(connected))).is_err() {
                    db = None;
                }
            }
        })?;
        Ok(Self { worker, path })
    }

    /// Runs a call on the reader thread.
    pub(super) async fn call<T: Send + 'static>(
        &self,
        read: impl FnOnce(&mut Db) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        let path = self.path.clone();
        let read = move |db: Result<&mut Db>| {
            if !reply.is_closed() {
                let refused = |error| translate(error).with("file", path.display());
                let _ = reply.send(db.and_then(|db| read(db).map_err(refused)));
            }
        };
        self.worker.send(Box::new(read))?;
        answer.await.unwrap_or_else(|_| {
            Err(Error::new(
                ErrorKind::Internal,
                "the reader thread of the SQLite store panicked",
            ))
        })
    }
}

fn connected<'a>(db: &'a mut Option<Db>, options: &SqliteOptions) -> Result<&'a mut Db> {
    if let Some(open) = db
        && let Err(error) = open.check(&options.path)
    {
        *db = None;
        return Err(error);
    }
    match db {
        Some(db) => Ok(db),
        none => Ok(none.insert(Db::open(options, Use::Read)?)),
    }
}

impl Db {
    /// The running jobs that were asked to end. All running jobs are looked through, as they are
    /// few.
    pub(super) fn cancelled(&mut self) -> rusqlite::Result<Vec<JobId>> {
        let mut asked = self
            .db
            .prepare_cached("SELECT id FROM bgjob_held WHERE cancel")?;
        asked.query_map([], |row| get(row, 0))?.collect()
    }

    /// The jobs with these ids.
    pub(super) fn get(&mut self, ids: &[JobId]) -> rusqlite::Result<Vec<Option<Job>>> {
        let get = |id: &JobId| match rows::load(&self.db, *id)? {
            Found::Job(job) => Ok(Some(*job)),
            Found::Unreadable(error) => Err(error),
            Found::Nothing => Ok(None),
        };
        ids.iter().map(get).collect()
    }
}
