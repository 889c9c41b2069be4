//! The first row of a claim's answer.
//!
//! The functions of the schema return this row and the claimed jobs as rows of one type, so what
//! the row says stands in columns of a job. `sql/v1/claim.sql` and `sql/v3/claim.sql` fill it in,
//! and only this file reads it. `docs/decisions/0096-an-applied-step-stays-as-it-is.md` says why it
//! has no columns of its own.

use sqlx::{Result, Row, postgres::PgRow};
use uuid::Uuid;

use bgjob_core::{JobId, Timestamp};

use super::floors::{Picture, Walk};

/// The store's time.
const NOW: &str = "created_at";
/// The next due time.
const NEXT: &str = "due_at";
/// How many lanes there are that are served.
const LANES: &str = "lane";
/// 1 if there was not room for all jobs.
const FULL: &str = "deadline";
/// How many entries the claim walked over.
const WALKED: &str = "since";
/// The ids of the jobs that succeeded in the same call.
const DONE: &str = "done";
/// Which transactions were in progress, if floors are in use: a `pg_snapshot`, the claim's own
/// transaction, and a time before that had its id.
const SNAPSHOT: &str = "past";
const OWN: &str = "fence";
const BEGUN: &str = "deadline_at";

/// What a claim says of itself.
pub(super) struct Head {
    pub(super) walk: Walk,
    /// When the next job is due.
    pub(super) next: Option<Timestamp>,
    pub(super) lanes: usize,
    pub(super) full: bool,
    pub(super) done: Vec<JobId>,
}

impl Head {
    pub(super) fn read(row: &PgRow) -> Result<Self> {
        let lanes: i32 = row.try_get(LANES)?;
        let next: Option<i64> = row.try_get(NEXT)?;
        let full: Option<i64> = row.try_get(FULL)?;
        let entries: i64 = row.try_get(WALKED)?;
        let done: Option<Vec<Uuid>> = row.try_get(DONE)?;
        let picture = match row.try_get(SNAPSHOT)? {
            None => None,
            Some(open) => Picture::new(row.try_get(OWN)?, row.try_get(BEGUN)?, open),
        };
        Ok(Self {
            walk: Walk {
                now: Timestamp::from_millis(row.try_get(NOW)?),
                entries: u64::try_from(entries).unwrap_or(0),
                picture,
            },
            next: next.map(Timestamp::from_millis),
            lanes: usize::try_from(lanes).unwrap_or(0),
            full: full == Some(1),
            done: done
                .unwrap_or_default()
                .into_iter()
                .map(JobId::from)
                .collect(),
        })
    }
}
