//! Lanes: queue, name and version of jobs, interned.

use std::{collections::HashMap, sync::Arc};

use rusqlite::{Connection, Result};

use crate::job::{JobSpec, Serves};

/// All that decides who may claim a job.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Lane {
    pub(super) queue: Arc<str>,
    pub(super) name: Arc<str>,
    pub(super) version: u32,
}

/// A connection's copy of `bgjob_lanes`. Rows are only ever added there, so a copy can be behind,
/// never wrong; after a rollback it is thrown away, as it may hold what was not committed.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    by_id: HashMap<i64, Lane>,
    ids: HashMap<Lane, i64>,
    by_queue: HashMap<Arc<str>, Vec<i64>>,
    last: i64,
}

impl Lanes {
    /// Reads what others added.
    pub(super) fn refresh(&mut self, db: &Connection) -> Result<()> {
        let mut rows =
            db.prepare_cached("SELECT id, queue, name, version FROM bgjob_lanes WHERE id > ?1")?;
        let mut rows = rows.query([self.last])?;
        while let Some(row) = rows.next()? {
            let queue: Arc<str> = row.get(1)?;
            // One allocation a queue, however many lanes it has.
            let queue = self
                .by_queue
                .get_key_value(&queue)
                .map_or(queue, |(q, _)| Arc::clone(q));
            let lane = Lane {
                queue,
                name: row.get(2)?,
                version: row.get(3)?,
            };
            self.keep(row.get(0)?, lane);
        }
        Ok(())
    }

    /// The lane with this id.
    pub(super) fn get(&mut self, db: &Connection, id: i64) -> Result<&Lane> {
        if !self.by_id.contains_key(&id) {
            self.refresh(db)?;
        }
        self.by_id
            .get(&id)
            .ok_or(rusqlite::Error::QueryReturnedNoRows)
    }

    /// The id of a job's lane, which is added if it is new.
    pub(super) fn intern(&mut self, db: &Connection, spec: &JobSpec) -> Result<i64> {
        let lane = Lane {
            queue: Arc::clone(&spec.queue),
            name: Arc::clone(&spec.name),
            version: spec.version,
        };
        if let Some(id) = self.ids.get(&lane) {
            return Ok(*id);
        }
        self.refresh(db)?;
        if let Some(id) = self.ids.get(&lane) {
            return Ok(*id);
        }
        db.prepare_cached("INSERT INTO bgjob_lanes(queue, name, version) VALUES(?1, ?2, ?3)")?
            .execute((&lane.queue, &lane.name, lane.version))?;
        let id = db.last_insert_rowid();
        self.keep(id, lane);
        Ok(id)
    }

    /// The lanes of a queue that can be run.
    pub(super) fn served<'a>(
        &'a self,
        queue: &str,
        serves: &'a Serves,
    ) -> impl Iterator<Item = i64> + 'a {
        let ids = self.by_queue.get(queue).map_or(&[][..], Vec::as_slice);
        ids.iter().copied().filter(|id| {
            let lane = &self.by_id[id];
            serves.can_run(&lane.name, lane.version)
        })
    }

    fn keep(&mut self, id: i64, lane: Lane) {
        self.by_queue
            .entry(Arc::clone(&lane.queue))
            .or_default()
            .push(id);
        self.ids.insert(lane.clone(), id);
        self.by_id.insert(id, lane);
        self.last = self.last.max(id);
    }
}
