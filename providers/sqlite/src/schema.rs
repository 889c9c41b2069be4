//! The tables, and how a database comes to have them.
//!
//! A job is spread over three tables, so that its way from `create` to success never rewrites the
//! row that holds its metadata:
//!
//! * `bgjob_jobs`: the job itself, one row from create to purge. `ended` says how the job ended and
//!   is NULL while it lives. `fence` is that of the last grant that is *over*.
//! * `bgjob_ready`: a narrow entry for each job that waits, in the order of claims.
//! * `bgjob_held`: a narrow entry for each job that runs: who holds it, and until when.
//!
//! A job that is neither ready nor held is over. A claim is two range statements (copy to held,
//! delete from ready), a success two deletes by key.
//!
//! Measured through the store on two cores (FULL, batches of 1,000, 150 bytes of metadata, deleted
//! at success): see `docs/benchmarks.md`.
//!
//! * `bgjob_lanes` interns queue, name and version, the parts of a job that decide who may claim
//!   it: claims look into the lanes they serve and never see the others. The other options stay in
//!   the job's row, as an enqueue may choose them freely and there must be few lanes.
//! * Jobs that have crashed have entries of their own in `bgjob_ready` (`suspect` = 1): suspects
//!   are only among them, and a claim takes at most one suspect.
//! * `bgjob_held` has no index on the lease's end: few jobs run at a time (thousands), so the
//!   sweeper reads them all in a millisecond, and two more index writes for each job would cost
//!   more.
//! * `bgjob_tallies` holds how many jobs of each lane are over, and how they ended. Counting a
//!   million of them would take 0.7 s, and a trigger would cost 4 µs for each job; a note for each
//!   transaction costs nothing.
//! * `bgjob_gone_*` hold the ids of jobs that were deleted at their end, one table for each
//!   five-minute period in turn, so that the oldest is emptied as a whole instead of row by row.

use rusqlite::{Connection, TransactionBehavior};

use bgjob_core::{Error, ErrorKind, Result, Timestamp};

use super::{error, value::Sql, workers};

/// Each step takes the schema from the version before (its index) to the next.
const STEPS: &[&str] = &[include_str!("../sql/v1.sql"), include_str!("../sql/v2.sql")];

/// Creates what is missing.
///
/// # Errors
/// `Unsupported` if a newer version made the database.
pub(super) fn migrate(db: &mut Connection, now: Timestamp) -> Result<()> {
    let tx = db
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(error::translate)?;
    tx.execute_batch(
        "CREATE TABLE IF NOT EXISTS bgjob_schema(
             version INTEGER PRIMARY KEY, applied_at INTEGER NOT NULL)",
    )
    .map_err(error::translate)?;
    let have: usize = tx
        .query_row(
            "SELECT coalesce(max(version), 0) FROM bgjob_schema",
            [],
            |row| row.get(0),
        )
        .map_err(error::translate)?;
    if have > STEPS.len() {
        return Err(Error::new(
            ErrorKind::Unsupported,
            "this database was made by a newer bgjob: upgrade this program, or give it a database \
             of its own",
        )
        .with("schema", have)
        .with("known", STEPS.len()));
    }
    for (step, sql) in STEPS.iter().enumerate().skip(have) {
        tx.execute_batch(sql).map_err(error::translate)?;
        tx.execute(
            "INSERT INTO bgjob_schema VALUES(?1, ?2)",
            (step + 1, Sql(now)),
        )
        .map_err(error::translate)?;
    }
    tx.execute_batch(workers::TABLE).map_err(error::translate)?;
    tx.commit().map_err(error::translate)
}
