//! Rows as typed jobs.
//!
//! A row that can't be read (a newer program wrote it, or its row of `lanes` is gone) is an error
//! of its own, and its job is left unchanged.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sqlx::{Result, Row, postgres::PgRow};
use uuid::Uuid;

use bgjob_core::{
    JobId, Timestamp,
    job::{
        Attempt, ClaimedJob, Ended, Hold, How, Job, JobSpec, Json, Owner, Phase, Priority, Token,
        limits,
    },
    toolkit::columns::{self, Extra},
};

use super::lanes::Lane;

/// What has happened to a job, in one column. For most jobs it is empty.
#[derive(Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Past {
    ver: u64,
    epoch: u32,
    errors: u32,
    crashes: u32,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    history: Vec<Attempt>,
}

impl Past {
    /// The value of the column.
    pub(super) fn column(job: &Job) -> Option<String> {
        let past = Self {
            ver: job.ver,
            epoch: job.epoch,
            errors: job.errors,
            crashes: job.crashes,
            history: job.history.clone(),
        };
        (past != Self::default()).then(|| columns::encode(&past))
    }
}

/// Where the tables hold a job, beyond what its phase says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Place {
    Ready,
    /// A member of this grant.
    Grant(i64),
    /// The job has a lease of its own.
    Held,
    Over,
}

/// A job as it was read, with the values that must be unchanged when a change is written.
pub(super) struct Stored {
    pub(super) job: Job,
    pub(super) lane: i32,
    pub(super) rev: i32,
    pub(super) place: Place,
    /// The stored numbers: another program may have written one that is out of range for a
    /// [`Timestamp`].
    pub(super) due_at: i64,
    pub(super) lease_until: Option<i64>,
    /// Whether the entry is marked as a suspect: older programs mark all jobs that have crashed.
    pub(super) suspect: bool,
}

fn time(row: &PgRow, column: &str) -> Result<Timestamp> {
    row.try_get(column).map(Timestamp::from_millis)
}

fn times(row: &PgRow, column: &str) -> Result<Option<Timestamp>> {
    Ok(row
        .try_get::<Option<i64>, _>(column)?
        .map(Timestamp::from_millis))
}

fn span(row: &PgRow, column: &str) -> Result<Option<Duration>> {
    Ok(row.try_get::<Option<i64>, _>(column)?.map(columns::span))
}

fn count(row: &PgRow, column: &str) -> Result<u32> {
    row.try_get::<i32, _>(column)
        .map(|n| u32::try_from(n).unwrap_or(0))
}

fn uuid(row: &PgRow, column: &str) -> Result<[u8; 16]> {
    row.try_get::<Uuid, _>(column).map(Uuid::into_bytes)
}

/// Decodes a column that holds one of our own types.
fn decode<T: DeserializeOwned>(row: &PgRow, column: &str) -> Result<Option<T>> {
    columns::decode(row.try_get(column)?).map_err(unknown)
}

fn unknown(error: columns::Unknown) -> sqlx::Error {
    sqlx::Error::Decode(error.into())
}

/// The lane of a row that has the lane's names in it.
fn lane(row: &PgRow) -> Result<Lane> {
    Lane::read(row)?.ok_or_else(|| {
        sqlx::Error::Decode("its row of `lanes`, which says of what kind it is, is gone".into())
    })
}

fn spec(row: &PgRow, lane: &Lane) -> Result<JobSpec> {
    let extra: Extra = decode(row, "extra")?.unwrap_or_default();
    let key: Option<&[u8]> = row.try_get("unique_key")?;
    let metadata = Json::trusted(row.try_get::<&str, _>("metadata")?);
    let mut spec = JobSpec::in_queue(Arc::clone(&lane.queue), Arc::clone(&lane.name), metadata);
    spec.version = lane.version;
    spec.priority = Priority::from_rank(u8::try_from(row.try_get::<i16, _>("rank")?).unwrap_or(3));
    spec.timeout = extra.timeout();
    spec.headers = extra.headers;
    spec.tags = extra.tags;
    spec.backoff = extra.backoff;
    spec.unique_key = key.map(|key| String::from_utf8_lossy(key).into_owned());
    spec.max_attempts = count(row, "max_attempts")?;
    spec.max_crashes = count(row, "max_crashes")?;
    spec.expires = span(row, "expires")?;
    spec.deadline = span(row, "deadline")?;
    spec.retain = span(row, "retain")?.unwrap_or_default();
    Ok(spec)
}

/// Reads a row of a token's jobs, with the names of the lane in it.
pub(super) fn held(row: &PgRow, token: Token) -> Result<ClaimedJob> {
    claimed(row, &lane(row)?, token)
}

/// Reads a row that a claim handed out.
pub(super) fn claimed(row: &PgRow, lane: &Lane, token: Token) -> Result<ClaimedJob> {
    let past: Past = decode(row, "past")?.unwrap_or_default();
    let id = JobId::from_bytes(uuid(row, "id")?);
    let spec = Arc::new(spec(row, lane)?);
    let mut job = ClaimedJob::new(id, spec, token, time(row, "since")?);
    job.fence = fence(row)? + 1;
    job.epoch = past.epoch;
    job.errors = past.errors;
    job.crashes = past.crashes;
    job.created_at = time(row, "created_at")?;
    job.due_at = time(row, "due_at")?;
    job.deadline_at = times(row, "deadline_at")?;
    Ok(job)
}

fn fence(row: &PgRow) -> Result<u64> {
    row.try_get::<i64, _>("fence")
        .map(|n| u64::try_from(n).unwrap_or(0))
}

/// The id of a row's job.
pub(super) fn id(row: &PgRow) -> Result<JobId> {
    uuid(row, "id").map(JobId::from_bytes)
}

/// Reads a row of a query over all tables.
pub(super) fn stored(row: &PgRow) -> Result<Stored> {
    let (phase, place) = phase(row)?;
    let past: Past = decode(row, "past")?.unwrap_or_default();
    // While the job is held, the stored fence is that of the grant before.
    let held = u64::from(matches!(phase, Phase::Running(_)));
    let (created_at, due_at) = (time(row, "created_at")?, time(row, "due_at")?);
    let spec = Arc::new(spec(row, &lane(row)?)?);
    let mut job = Job::new(id(row)?, spec, created_at, due_at);
    job.phase = phase;
    job.ver = past.ver;
    job.fence = fence(row)? + held;
    job.epoch = past.epoch;
    job.errors = past.errors;
    job.crashes = past.crashes;
    job.expires_at = times(row, "expires_at")?;
    job.deadline_at = times(row, "deadline_at")?;
    job.progress = decode(row, "progress")?;
    job.history = past.history;
    Ok(Stored {
        job,
        lane: row.try_get("lane")?,
        rev: row.try_get("rev")?,
        place,
        due_at: row.try_get("due_at")?,
        lease_until: row.try_get("lease_until")?,
        suspect: row.try_get("suspect")?,
    })
}

fn phase(row: &PgRow) -> Result<(Phase, Place)> {
    if let Some(ended) = row.try_get::<Option<&str>, _>("ended")? {
        let result: Option<&str> = row.try_get("result")?;
        let how = match ended {
            "succeeded" => How::Succeeded(result.map_or_else(Json::null, Json::trusted)),
            "cancelled" => How::Cancelled,
            "dead" => How::Dead(columns::reason(row.try_get("reason")?).map_err(unknown)?),
            _ => return Err(unknown(columns::Unknown)),
        };
        let over = Ended {
            how,
            at: time(row, "ended_at")?,
            purge_at: time(row, "purge_at")?,
        };
        return Ok((Phase::Ended(over), Place::Over));
    }
    if let Some(touch_at) = times(row, "touch_at")? {
        return Ok((Phase::Ready { touch_at }, Place::Ready));
    }
    let hold = Hold {
        token: Token::from_bytes(uuid(row, "token")?),
        owner: Owner::from_bytes(uuid(row, "owner")?),
        since: time(row, "since")?,
        lease_until: time(row, "lease_until")?,
        cancel: row.try_get("cancel")?,
    };
    let place = row
        .try_get::<Option<i64>, _>("grant_id")?
        .map_or(Place::Held, Place::Grant);
    Ok((Phase::Running(hold), place))
}

/// Jobs that this process has claimed and could not read: claims pass over them. When there are
/// more than fit, all are forgotten and so tried again.
#[derive(Debug, Default)]
pub(super) struct Skipped(Mutex<BTreeSet<JobId>>);

impl Skipped {
    pub(super) fn add(&self, ids: &[JobId]) {
        let mut skipped = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if skipped.len() + ids.len() > limits::BATCH {
            skipped.clear();
        }
        skipped.extend(ids);
    }

    pub(super) fn ids(&self) -> Vec<Uuid> {
        let skipped = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        skipped.iter().map(|id| Uuid::from(*id)).collect()
    }
}
