//! Rows as typed jobs, and back.

use std::{sync::Arc, time::Duration};

use rusqlite::{
    Connection, Error, OptionalExtension, Result, Row,
    types::{Type, ValueRef},
};
use serde::de::DeserializeOwned;

use bgjob_core::{
    BoxError, JobId, Timestamp,
    job::{Attempt, ClaimedJob, Ended, Hold, How, Job, JobSpec, Json, Phase, Priority, Token},
    toolkit::columns::{self, Extra},
};

use super::{
    lanes::Lane,
    value::{Sql, get},
};

/// The columns that a claim reads, in the order of [`claimed`].
macro_rules! light {
    () => {
        "j.id, j.lane, j.rank, j.created_at, j.due_at, j.max_attempts, j.max_crashes, j.retain, \
         j.expires, j.deadline, j.deadline_at, j.unique_key, j.fence, j.epoch, j.errors, \
         j.crashes, j.extra, j.metadata, j.history"
    };
}
pub(super) use light;

/// The query for [`job`], up to its `WHERE`.
pub(super) const WHOLE: &str = concat!(
    "SELECT ",
    light!(),
    ", j.expires_at, j.ver, j.ended, j.reason, j.ended_at, j.purge_at, j.progress,
       j.result, h.token, h.owner, h.since, h.lease_until, h.cancel, r.touch_at,
       l.queue, l.name, l.version
     FROM bgjob_jobs j
     LEFT JOIN bgjob_lanes l ON l.id = j.lane
     LEFT JOIN bgjob_held h ON h.id = j.id
     LEFT JOIN bgjob_ready r ON r.lane = j.lane AND r.suspect = (j.crashes > 0)
          AND r.rank = j.rank AND r.due_at = j.due_at AND r.id = j.id "
);

/// What is stored under a job's id.
pub(super) enum Found {
    Job(Box<Job>),
    /// The job is there, but can't be read for this reason.
    Unreadable(Error),
    Nothing,
}

/// Whether the only problem is that this program can't read the content of a row.
pub(super) fn is_unreadable(error: &Error) -> bool {
    matches!(
        error,
        Error::FromSqlConversionFailure(..)
            | Error::InvalidColumnType(..)
            | Error::IntegralValueOutOfRange(..)
    )
}

fn unknown(column: usize, why: impl Into<BoxError>) -> Error {
    Error::FromSqlConversionFailure(column, Type::Text, why.into())
}

/// Decodes a column that holds one of our own types.
fn decode<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> Result<Option<T>> {
    let text = row.get_ref(column)?.as_str_or_null();
    let text = text.map_err(|error| unknown(column, error))?;
    columns::decode(text).map_err(|error| unknown(column, error))
}

/// The lane of a row that has the lane's names in it from this column on.
fn lane(row: &Row<'_>, column: usize) -> Result<Lane> {
    let Some(queue) = row.get(column)? else {
        let why = "its row of `bgjob_lanes`, which says of what kind it is, is gone";
        return Err(unknown(column, why));
    };
    Ok(Lane {
        queue,
        name: row.get(column + 1)?,
        version: row.get(column + 2)?,
    })
}

fn span(row: &Row<'_>, column: usize) -> Result<Option<Duration>> {
    let nanos: Option<i64> = row.get(column)?;
    Ok(nanos.map(columns::span))
}

fn text(row: &Row<'_>, column: usize) -> Result<Option<Arc<str>>> {
    Ok(match row.get_ref(column)? {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
            // bgjob does not write text that is not UTF-8. The handler refuses such metadata by
            // name.
            Some(String::from_utf8_lossy(bytes).into())
        }
        _ => None,
    })
}

fn spec(row: &Row<'_>, lane: &Lane) -> Result<JobSpec> {
    let extra: Extra = decode(row, 16)?.unwrap_or_default();
    let (queue, name) = (Arc::clone(&lane.queue), Arc::clone(&lane.name));
    let metadata = Json::trusted(text(row, 17)?.unwrap_or_else(|| "null".into()));
    let mut spec = JobSpec::in_queue(queue, name, metadata);
    spec.version = lane.version;
    spec.priority = Priority::from_rank(row.get(2)?);
    spec.timeout = extra.timeout();
    spec.headers = extra.headers;
    spec.tags = extra.tags;
    spec.backoff = extra.backoff;
    spec.unique_key = row.get(11)?;
    spec.max_attempts = row.get(5)?;
    spec.max_crashes = row.get(6)?;
    spec.expires = span(row, 8)?;
    spec.deadline = span(row, 9)?;
    spec.retain = span(row, 7)?.unwrap_or_default();
    Ok(spec)
}

/// Reads a row of [`light!`] as the job that this grant hands out at `since`. The job is held from
/// then on, so its fence is one more than that of the last grant.
pub(super) fn claimed(
    row: &Row<'_>,
    lane: &Lane,
    token: Token,
    since: Timestamp,
) -> Result<ClaimedJob> {
    // The end of the attempt is added to this column, so it must be readable.
    decode::<Vec<Attempt>>(row, 18)?;
    let mut job = ClaimedJob::new(get(row, 0)?, Arc::new(spec(row, lane)?), token, since);
    job.fence = row.get::<_, u64>(12)? + 1;
    job.epoch = row.get(13)?;
    job.errors = row.get(14)?;
    job.crashes = row.get(15)?;
    job.created_at = get(row, 3)?;
    job.due_at = get(row, 4)?;
    job.deadline_at = get(row, 10)?;
    Ok(job)
}

/// Reads a row of [`light!`], followed by the time since which the job is held and the names of its
/// lane.
pub(super) fn held(row: &Row<'_>, token: Token) -> Result<ClaimedJob> {
    claimed(row, &lane(row, 20)?, token, get(row, 19)?)
}

/// The job with this id.
pub(super) fn load(db: &Connection, id: JobId) -> Result<Found> {
    let job = db
        .prepare_cached(&format!("{WHOLE} WHERE j.id = ?1"))?
        .query_row([Sql(id)], job)
        .optional();
    match job {
        Ok(Some(job)) => Ok(Found::Job(Box::new(job))),
        Ok(None) => Ok(Found::Nothing),
        Err(error) if is_unreadable(&error) => Ok(Found::Unreadable(error)),
        Err(error) => Err(error),
    }
}

/// Reads a row of [`WHOLE`].
pub(super) fn job(row: &Row<'_>) -> Result<Job> {
    let phase = phase(row)?;
    // While the job is held, the stored fence is that of the grant before.
    let held = u64::from(matches!(phase, Phase::Running(_)));
    let spec = Arc::new(spec(row, &lane(row, 33)?)?);
    let mut job = Job::new(get(row, 0)?, spec, get(row, 3)?, get(row, 4)?);
    job.phase = phase;
    job.ver = row.get(20)?;
    job.fence = row.get::<_, u64>(12)? + held;
    job.epoch = row.get(13)?;
    job.errors = row.get(14)?;
    job.crashes = row.get(15)?;
    job.expires_at = get(row, 19)?;
    job.deadline_at = get(row, 10)?;
    job.progress = decode(row, 25)?;
    job.history = decode(row, 18)?.unwrap_or_default();
    Ok(job)
}

fn phase(row: &Row<'_>) -> Result<Phase> {
    let ended: Option<String> = row.get(21)?;
    let reason = || {
        let text = row.get_ref(22)?.as_str_or_null();
        let text = text.map_err(|error| unknown(22, error))?;
        columns::reason(text).map_err(|error| unknown(22, error))
    };
    let how = match ended.as_deref() {
        Some("succeeded") => How::Succeeded(text(row, 26)?.map_or_else(Json::null, Json::trusted)),
        Some("cancelled") => How::Cancelled,
        Some("dead") => How::Dead(reason()?),
        Some(_) => return Err(unknown(21, columns::Unknown)),
        None => return waiting_or_held(row),
    };
    Ok(Phase::Ended(Ended {
        how,
        at: get(row, 23)?,
        purge_at: get(row, 24)?,
    }))
}

fn waiting_or_held(row: &Row<'_>) -> Result<Phase> {
    let Some(token) = get(row, 27)? else {
        return Ok(Phase::Ready {
            touch_at: get(row, 32)?,
        });
    };
    Ok(Phase::Running(Hold {
        token,
        owner: get(row, 28)?,
        since: get(row, 29)?,
        lease_until: get(row, 30)?,
        cancel: row.get(31)?,
    }))
}
