//! The thread that reads, on a connection of its own: a long list does not hold up the writer.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
};

use rusqlite::{ToSql, params};
use tokio::sync::oneshot;

use crate::{
    Error, ErrorKind, Job, JobId, Result,
    job::State,
    store::{Filter, QueueCount},
};

use crate::providers::worker::Worker;

use super::{
    connect::{Db, Use},
    error::translate,
    options::SqliteOptions,
    rows::{self, WHOLE},
};

type Read = Box<dyn FnOnce(Result<&mut Db>) + Send>;

/// The way to the reader thread. When it is dropped, the thread ends.
#[derive(Debug)]
pub(super) struct Reader {
    worker: Worker<Read>,
    path: PathBuf,
}

impl Reader {
    /// Starts the thread; it connects when it is first asked.
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

    /// Reads.
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
    /// The jobs with these ids.
    pub(super) fn get(&mut self, ids: &[JobId]) -> rusqlite::Result<Vec<Option<Job>>> {
        ids.iter()
            .map(|id| rows::load(&self.db, &mut self.lanes, *id))
            .collect()
    }

    /// Jobs that fit the filter, by id. Walks what the filter's state has an index for and leaves
    /// the rest of it to the filter itself.
    pub(super) fn list(
        &mut self,
        filter: &Filter,
        after: Option<JobId>,
        limit: usize,
    ) -> rusqlite::Result<Vec<Job>> {
        let mut found = Vec::new();
        if limit == 0 {
            return Ok(found);
        }
        let ended = filter
            .state
            .filter(|state| state.is_terminal())
            .map(State::as_str);
        let such = match filter.state {
            None => "",
            Some(State::Ready) => "AND j.ended IS NULL AND h.id IS NULL",
            Some(State::Running) => "AND h.id IS NOT NULL",
            Some(_) => "AND j.ended = ?2",
        };
        let mut rows = self
            .db
            .prepare_cached(&format!("{WHOLE} WHERE j.id > ?1 {such} ORDER BY j.id"))?;
        let after = after.as_ref().map_or(&[][..], |id| id.as_bytes());
        let mut values: Vec<&dyn ToSql> = vec![&after];
        values.extend(ended.as_ref().map(|ended| ended as &dyn ToSql));
        let mut rows = rows.query(values.as_slice())?;
        while found.len() < limit
            && let Some(row) = rows.next()?
        {
            let job = rows::job(&self.db, &mut self.lanes, row)?;
            if filter.fits(&job) {
                found.push(job);
            }
        }
        Ok(found)
    }

    /// How many jobs of which state each queue has.
    pub(super) fn counts(&mut self) -> rusqlite::Result<Vec<QueueCount>> {
        let mut counts = self.db.prepare_cached(
            "SELECT l.queue, c.state, sum(c.jobs) FROM (
                 SELECT lane, 'ready' AS state, count(*) AS jobs FROM bgjob_ready GROUP BY lane
                 UNION ALL
                 SELECT j.lane, 'running', count(*)
                     FROM bgjob_held h CROSS JOIN bgjob_jobs j ON j.id = h.id GROUP BY j.lane
                 UNION ALL
                 SELECT lane, ended, count(*) FROM bgjob_jobs
                     WHERE ended IS NOT NULL GROUP BY ended, lane
             ) c JOIN bgjob_lanes l ON l.id = c.lane GROUP BY l.queue, c.state",
        )?;
        let mut rows = counts.query(params![])?;
        let mut counts = Vec::new();
        while let Some(row) = rows.next()? {
            let state = row.get_ref(1)?.as_str()?;
            if let Some(state) = State::ALL.into_iter().find(|s| s.as_str() == state) {
                counts.push(QueueCount {
                    queue: row.get(0)?,
                    state,
                    jobs: row.get(2)?,
                });
            }
        }
        Ok(counts)
    }
}
