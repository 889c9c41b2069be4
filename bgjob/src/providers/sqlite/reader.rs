//! The thread that reads, on a connection of its own: a long list does not hold up the writer.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::Arc,
};

use rusqlite::{ToSql, params};
use tokio::sync::oneshot;

use crate::{
    Error, ErrorKind, Job, JobId, Result, Timestamp,
    job::{State, limits},
    store::{Filter, Listed, Order, QueueCounts, Slice},
};

use crate::providers::worker::Worker;

use super::{
    connect::{Db, Use},
    error::translate,
    options::SqliteOptions,
    rows::{self, Found, WHOLE},
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
    /// The running jobs that were asked to end. What runs is little, so it is all looked through.
    pub(super) fn cancelled(&mut self) -> rusqlite::Result<Vec<JobId>> {
        let mut asked = self
            .db
            .prepare_cached("SELECT id FROM bgjob_held WHERE cancel")?;
        asked.query_map([], |row| row.get(0))?.collect()
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

    /// Jobs that fit the filter, by id. Walks what the filter's state has an index for and leaves
    /// the rest of it to the filter itself.
    pub(super) fn list(&mut self, filter: &Filter, slice: &Slice) -> rusqlite::Result<Listed> {
        let mut listed = Listed::default();
        let Some((least, greatest)) = slice.ids().filter(|_| slice.limit > 0) else {
            return Ok(listed);
        };
        let ended = filter
            .state
            .filter(|state| state.is_terminal())
            .map(State::as_str);
        let such = match filter.state {
            None => "",
            Some(State::Ready) => "AND j.ended IS NULL AND h.id IS NULL",
            Some(State::Running) => "AND h.id IS NOT NULL",
            Some(_) => "AND j.ended = ?3",
        };
        let order = match slice.order {
            Order::Oldest => "ASC",
            Order::Newest => "DESC",
        };
        let mut rows = self.db.prepare_cached(&format!(
            "{WHOLE} WHERE j.id BETWEEN ?1 AND ?2 {such} ORDER BY j.id {order}"
        ))?;
        let mut values: Vec<&dyn ToSql> = vec![&least, &greatest];
        values.extend(ended.as_ref().map(|ended| ended as &dyn ToSql));
        let mut rows = rows.query(values.as_slice())?;
        let mut bytes = 0;
        for _ in 0..limits::LOOKED_AT.max(slice.limit) {
            let Some(row) = rows.next()? else {
                listed.next = None;
                break;
            };
            listed.next = Some(row.get(0)?);
            match rows::job(row) {
                Ok(job) if filter.fits(&job) => {
                    bytes += job.bytes();
                    listed.jobs.push(job);
                }
                Ok(_) => {}
                // What can't be read is not listed, here as elsewhere.
                Err(error) if rows::is_unreadable(&error) => {}
                Err(error) => return Err(error),
            }
            if listed.jobs.len() == slice.limit || bytes >= limits::BATCH_BYTES / 2 {
                break;
            }
        }
        Ok(listed)
    }

    /// How many jobs of which name each queue has.
    pub(super) fn counts(&mut self, now: Timestamp) -> rusqlite::Result<Vec<QueueCounts>> {
        let mut counts = self.db.prepare_cached(
            "SELECT l.queue, l.name, c.state, sum(c.jobs), min(c.due_at) FROM (
                 SELECT r.lane, CASE WHEN r.due_at <= ?1 THEN 'due' WHEN j.fence > 0 THEN 'again'
                     ELSE 'delayed' END AS state, count(*) AS jobs, min(r.due_at) AS due_at
                     FROM bgjob_ready r CROSS JOIN bgjob_jobs j ON j.id = r.id GROUP BY r.lane, 2
                 UNION ALL
                 SELECT j.lane, 'running', count(*), NULL
                     FROM bgjob_held h CROSS JOIN bgjob_jobs j ON j.id = h.id GROUP BY j.lane
                 UNION ALL
                 SELECT lane, ended, count(*), NULL FROM bgjob_jobs
                     WHERE ended IS NOT NULL GROUP BY ended, lane
             ) c JOIN bgjob_lanes l ON l.id = c.lane GROUP BY l.queue, l.name, c.state
             ORDER BY l.queue, l.name",
        )?;
        let mut rows = counts.query(params![now])?;
        let mut all: Vec<QueueCounts> = Vec::new();
        while let Some(row) = rows.next()? {
            let (queue, name): (Arc<str>, Arc<str>) = (row.get(0)?, row.get(1)?);
            if all
                .last()
                .is_none_or(|last| (&last.queue, &last.name) != (&queue, &name))
            {
                all.push(QueueCounts::new(queue, name));
            }
            let counts = all.last_mut().expect("one was just added");
            let jobs: u64 = row.get(3)?;
            match row.get_ref(2)?.as_str()? {
                "due" => {
                    counts.due += jobs;
                    counts.is_due_since(row.get(4)?, now);
                }
                "again" => counts.backing_off += jobs,
                "delayed" => counts.delayed += jobs,
                name => {
                    let state = State::ALL.into_iter().find(|state| state.as_str() == name);
                    if let Some(state) = state {
                        counts.add(state, jobs);
                    }
                }
            }
        }
        Ok(all)
    }
}
