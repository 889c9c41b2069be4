//! Ids of jobs that were deleted at their end: remembered for [`REMEMBERED`], so that a repeated
//! create can't run them again.

use rusqlite::{CachedStatement, Connection, OptionalExtension, Result};

use bgjob_core::{JobId, Timestamp, job::transition::REMEMBERED};

use super::value::{Sql, get};

/// One statement a table, so that each is prepared once.
const INSERT: [&str; 3] = [
    "INSERT OR REPLACE INTO bgjob_gone_0 VALUES(?1, ?2)",
    "INSERT OR REPLACE INTO bgjob_gone_1 VALUES(?1, ?2)",
    "INSERT OR REPLACE INTO bgjob_gone_2 VALUES(?1, ?2)",
];
const LOOK_UP: [&str; 3] = [
    "SELECT until FROM bgjob_gone_0 WHERE id = ?1",
    "SELECT until FROM bgjob_gone_1 WHERE id = ?1",
    "SELECT until FROM bgjob_gone_2 WHERE id = ?1",
];
const LAST: [&str; 3] = [
    "SELECT max(id) FROM bgjob_gone_0",
    "SELECT max(id) FROM bgjob_gone_1",
    "SELECT max(id) FROM bgjob_gone_2",
];
const CLEAR: [&str; 3] = [
    "DELETE FROM bgjob_gone_0",
    "DELETE FROM bgjob_gone_1",
    "DELETE FROM bgjob_gone_2",
];

/// What a call has cached of the remembered ids.
#[derive(Debug, Default)]
pub(super) struct Gone {
    /// The greatest id of each table. New jobs usually have greater ids (ids grow with time), so a
    /// batch of creates costs three look-ups in all instead of three for each job.
    last: Option<[Option<JobId>; 3]>,
}

impl Gone {
    /// Whether a job with this id ended and was deleted lately.
    pub(super) fn holds(&mut self, db: &Connection, id: JobId, now: Timestamp) -> Result<bool> {
        let last = match self.last {
            Some(last) => last,
            None => *self.last.insert(Self::greatest(db)?),
        };
        for (table, last) in last.iter().enumerate() {
            if last.is_some_and(|last| id <= last) {
                let until: Option<Timestamp> = db
                    .prepare_cached(LOOK_UP[table])?
                    .query_row([Sql(id)], |row| get(row, 0))
                    .optional()?;
                if until.is_some_and(|until| until > now) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// The statement that remembers an id (1) until a time (2).
    pub(super) fn remembers(db: &Connection, now: Timestamp) -> Result<CachedStatement<'_>> {
        db.prepare_cached(INSERT[table(now)])
    }

    /// Empties the table whose turn is next: its ids are from two periods ago or older, and had to
    /// stay for one period. Emptying the table as a whole costs one page for a hundred ids;
    /// deleting row by row (by an index of times) costs a hundred times as much.
    pub(super) fn clear(db: &Connection, now: Timestamp) -> Result<()> {
        db.prepare_cached(CLEAR[(table(now) + 1) % 3])?
            .execute([])?;
        Ok(())
    }

    fn greatest(db: &Connection) -> Result<[Option<JobId>; 3]> {
        let mut last = [None; 3];
        for (table, last) in last.iter_mut().enumerate() {
            *last = db
                .prepare_cached(LAST[table])?
                .query_row([], |row| get(row, 0))?;
        }
        Ok(last)
    }
}

/// The table for jobs that end now.
fn table(now: Timestamp) -> usize {
    let period = now.since(Timestamp::MIN).as_millis() / REMEMBERED.as_millis();
    (period % 3) as usize
}
