//! Lanes: queue, name and version of jobs, interned.
//!
//! The numbers of lanes are cached for one transaction only. In the next transaction a number may
//! stand for another kind of job: a backup was restored, tables were emptied, an unused kind was
//! forgotten. A look-up takes a few microseconds, and one for each transaction and kind is enough.

use std::{collections::HashMap, sync::Arc};

use rusqlite::{Connection, OptionalExtension, Result, ToSql};

use bgjob_core::{
    Timestamp,
    job::{JobSpec, Serves},
};

/// The parts of a job that decide who may claim it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Lane {
    pub(super) queue: Arc<str>,
    pub(super) name: Arc<str>,
    pub(super) version: u32,
}

/// The lanes that the current transaction has looked up.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    ids: HashMap<Lane, i64>,
    last: Option<(Lane, i64)>,
    /// When unused lanes were last looked for. This outlives a transaction.
    purged_at: Option<Timestamp>,
}

/// This many unused lanes may stay. They cost nothing.
const SPARE: i64 = 1000;

/// How often unused lanes are looked for, in milliseconds.
const PURGE: i64 = 60_000;

/// Lanes in which no job waits and, by the tallies, none is over.
///
/// The last lane stays, so that its number is not given out again: a program of an earlier version
/// may have cached it.
const IDLE: &str = "id < (SELECT max(id) FROM bgjob_lanes)
     AND NOT EXISTS (SELECT 1 FROM bgjob_ready r WHERE r.lane = bgjob_lanes.id)
     AND NOT EXISTS (SELECT 1 FROM bgjob_tallies t WHERE t.lane = bgjob_lanes.id AND t.jobs > 0)";

/// Lanes in use, by the jobs themselves, as the tallies may be wrong if tables were edited. This
/// query reads all jobs that are over, so it runs only when there is much to forget.
const USED: &str = "SELECT j.lane FROM bgjob_held h CROSS JOIN bgjob_jobs j ON j.id = h.id
     UNION SELECT lane FROM bgjob_jobs INDEXED BY bgjob_jobs_ended WHERE ended IS NOT NULL";

impl Lanes {
    /// Begins a transaction: forgets what was cached.
    pub(super) fn begin(&mut self) {
        self.ids.clear();
        self.last = None;
    }

    /// The id of a job's lane. A new lane is added.
    pub(super) fn intern(&mut self, db: &Connection, spec: &JobSpec) -> Result<i64> {
        // Most batches have one lane.
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

    /// The lanes of a queue that can be run. The time this takes grows with the lanes of the queue
    /// or with the served names, whichever are fewer.
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

    /// From time to time, forgets the lanes that no job is in, if there are many of them.
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
