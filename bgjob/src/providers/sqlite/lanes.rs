//! Lanes: queue, name and version of jobs, interned.
//!
//! What was looked up is noted for one transaction and no longer. A number may stand for another
//! kind of job in the next one: a backup was put back in place, tables were emptied, a kind that
//! nobody used was forgotten. A look is a few microseconds, and one a transaction and kind is
//! enough.

use std::{collections::HashMap, sync::Arc};

use rusqlite::{Connection, OptionalExtension, Result, ToSql};

use crate::{
    Timestamp,
    job::{JobSpec, Serves},
};

/// All that decides who may claim a job.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Lane {
    pub(super) queue: Arc<str>,
    pub(super) name: Arc<str>,
    pub(super) version: u32,
}

/// What the transaction at hand has looked up.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    ids: HashMap<Lane, i64>,
    last: Option<(Lane, i64)>,
    /// When it was last looked for lanes that no job is in. That outlives a transaction.
    purged_at: Option<Timestamp>,
}

/// This many lanes may be there without use. Fewer cost nobody anything.
const SPARE: i64 = 1000;

/// How often it is looked for lanes that no job is in, in milliseconds.
const PURGE: i64 = 60_000;

/// Lanes that no job waits in and that have no job that is over, by what is noted of these.
///
/// The last lane stays, so that its number is not given out again: a program of an earlier version
/// may have noted it.
const IDLE: &str = "id < (SELECT max(id) FROM bgjob_lanes)
     AND NOT EXISTS (SELECT 1 FROM bgjob_ready r WHERE r.lane = bgjob_lanes.id)
     AND NOT EXISTS (SELECT 1 FROM bgjob_tallies t WHERE t.lane = bgjob_lanes.id AND t.jobs > 0)";

/// What is noted may be wrong, where tables were edited. So all jobs that are over are looked at,
/// and only where there is much to forget.
const USED: &str = "SELECT j.lane FROM bgjob_held h CROSS JOIN bgjob_jobs j ON j.id = h.id
     UNION SELECT lane FROM bgjob_jobs INDEXED BY bgjob_jobs_ended WHERE ended IS NOT NULL";

impl Lanes {
    /// Begins a transaction.
    pub(super) fn begin(&mut self) {
        self.ids.clear();
        self.last = None;
    }

    /// The id of a job's lane, which is added if it is new.
    pub(super) fn intern(&mut self, db: &Connection, spec: &JobSpec) -> Result<i64> {
        // Batches mostly have one lane.
        if let Some((lane, id)) = &self.last
            && (lane.version, &lane.name, &lane.queue) == (spec.version, &spec.name, &spec.queue)
        {
            return Ok(*id);
        }
        let lane = Lane {
            queue: Arc::clone(&spec.queue),
            name: Arc::clone(&spec.name),
            version: spec.version,
        };
        let id = match self.ids.get(&lane) {
            Some(id) => *id,
            None => Self::look_up(db, &lane)?,
        };
        self.ids.insert(lane.clone(), id);
        self.last = Some((lane, id));
        Ok(id)
    }

    fn look_up(db: &Connection, lane: &Lane) -> Result<i64> {
        let values = (&lane.queue, &lane.name, lane.version);
        let known = db
            .prepare_cached(
                "SELECT id FROM bgjob_lanes WHERE queue = ?1 AND name = ?2 AND version = ?3",
            )?
            .query_row(values, |row| row.get(0))
            .optional()?;
        if let Some(id) = known {
            return Ok(id);
        }
        db.prepare_cached("INSERT INTO bgjob_lanes(queue, name, version) VALUES(?1, ?2, ?3)")?
            .execute(values)?;
        Ok(db.last_insert_rowid())
    }

    /// The lanes of a queue that can be run. It takes as long as the fewer of those that the queue
    /// has and those that are served.
    pub(super) fn served(
        db: &Connection,
        queue: &Arc<str>,
        serves: &Serves,
    ) -> Result<Vec<(i64, Lane)>> {
        let names = serves.jobs.len();
        let some = "SELECT id, name, version FROM bgjob_lanes WHERE queue = ?1 LIMIT ?2";
        let most = i64::try_from(names + 1).unwrap_or(i64::MAX);
        let some = Self::lanes(db, some, queue, &[queue, &most])?;
        if some.len() <= names {
            let can_run = |(_, lane): &(i64, Lane)| serves.can_run(&lane.name, lane.version);
            return Ok(some.into_iter().filter(can_run).collect());
        }
        let one = "SELECT id, name, version FROM bgjob_lanes
             WHERE queue = ?1 AND name = ?2 AND version <= ?3";
        let mut served = Vec::new();
        for (name, version) in &*serves.jobs {
            served.append(&mut Self::lanes(db, one, queue, &[queue, name, version])?);
        }
        Ok(served)
    }

    fn lanes(
        db: &Connection,
        query: &str,
        queue: &Arc<str>,
        values: &[&dyn ToSql],
    ) -> Result<Vec<(i64, Lane)>> {
        let mut lanes = db.prepare_cached(query)?;
        let lanes = lanes.query_map(values, |row| {
            let lane = Lane {
                queue: Arc::clone(queue),
                name: row.get(1)?,
                version: row.get(2)?,
            };
            Ok((row.get(0)?, lane))
        })?;
        lanes.collect()
    }

    /// Forgets the lanes that no job is in, now and then, where there are many lanes.
    pub(super) fn purge(&mut self, db: &Connection, now: Timestamp) -> Result<()> {
        let since = self.purged_at.map(|at| now.as_millis() - at.as_millis());
        if since.is_some_and(|since| (0..PURGE).contains(&since)) {
            return Ok(());
        }
        self.purged_at = Some(now);
        let idle: i64 = db
            .prepare_cached(&format!("SELECT count(*) FROM bgjob_lanes WHERE {IDLE}"))?
            .query_row([], |row| row.get(0))?;
        if idle > SPARE {
            let forget = format!("DELETE FROM bgjob_lanes WHERE {IDLE} AND id NOT IN ({USED})");
            db.prepare_cached(&forget)?.execute([])?;
            db.prepare_cached(
                "DELETE FROM bgjob_tallies WHERE lane NOT IN (SELECT id FROM bgjob_lanes)",
            )?
            .execute([])?;
            self.begin();
        }
        Ok(())
    }
}
