//! Rows as typed jobs, and back.

use std::{sync::Arc, time::Duration};

use rusqlite::{
    Connection, OptionalExtension, Result, Row, ToSql,
    types::{FromSql, FromSqlError, FromSqlResult, ToSqlOutput, ValueRef},
};
use serde::de::DeserializeOwned;

use crate::{
    JobId, Timestamp,
    job::{ClaimedJob, Ended, Hold, How, Job, JobSpec, Json, Owner, Phase, Priority, Token},
};

use crate::providers::columns::{self, Extra};

use super::lanes::{Lane, Lanes};

/// The columns a claim gives out, in the order [`claimed`] reads them.
macro_rules! light {
    () => {
        "j.id, j.lane, j.rank, j.created_at, j.due_at, j.max_attempts, j.max_crashes, j.retain, \
         j.expires, j.deadline, j.deadline_at, j.unique_key, j.fence, j.epoch, j.errors, \
         j.crashes, j.extra, j.metadata"
    };
}
pub(super) use light;

/// The query [`job`] reads the rows of, up to its `WHERE`.
pub(super) const WHOLE: &str = concat!(
    "SELECT ",
    light!(),
    ", j.expires_at, j.ver, j.ended, j.reason, j.ended_at, j.purge_at, j.progress, j.history,
       j.result, h.token, h.owner, h.since, h.lease_until, h.cancel, r.touch_at
     FROM bgjob_jobs j
     LEFT JOIN bgjob_held h ON h.id = j.id
     LEFT JOIN bgjob_ready r ON r.lane = j.lane AND r.suspect = (j.crashes > 0)
          AND r.rank = j.rank AND r.due_at = j.due_at AND r.id = j.id "
);

/// The text of a column as one of our own types.
fn decode<T: DeserializeOwned>(text: &ValueRef<'_>) -> Option<T> {
    columns::decode(text.as_str_or_null().ok()?)
}

fn span(row: &Row<'_>, column: usize) -> Result<Option<Duration>> {
    let nanos: Option<i64> = row.get(column)?;
    Ok(nanos.map(columns::span))
}

fn text(row: &Row<'_>, column: usize) -> Result<Option<Arc<str>>> {
    Ok(match row.get_ref(column)? {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
            // Text that is no UTF-8 was not written by us; the handler will refuse it by name.
            Some(String::from_utf8_lossy(bytes).into())
        }
        _ => None,
    })
}

fn spec(row: &Row<'_>, lane: &Lane) -> Result<JobSpec> {
    let extra: Extra = decode(&row.get_ref(16)?).unwrap_or_default();
    Ok(JobSpec {
        name: Arc::clone(&lane.name),
        queue: Arc::clone(&lane.queue),
        version: lane.version,
        priority: Priority::from_rank(row.get(2)?),
        metadata: Json::trusted(text(row, 17)?.unwrap_or_else(|| "null".into())),
        timeout: extra.timeout(),
        headers: extra.headers,
        tags: extra.tags,
        backoff: extra.backoff,
        unique_key: row.get(11)?,
        max_attempts: row.get(5)?,
        max_crashes: row.get(6)?,
        expires: span(row, 8)?,
        deadline: span(row, 9)?,
        retain: span(row, 7)?.unwrap_or_default(),
    })
}

/// A row of [`light!`] as the job that this grant gives out at `since`. The row is that of a job
/// that is held by then: the grant's fence is one more than the last.
pub(super) fn claimed(
    row: &Row<'_>,
    lane: &Lane,
    token: Token,
    since: Timestamp,
) -> Result<ClaimedJob> {
    Ok(ClaimedJob {
        id: row.get(0)?,
        spec: Arc::new(spec(row, lane)?),
        token,
        fence: row.get::<_, u64>(12)? + 1,
        epoch: row.get(13)?,
        errors: row.get(14)?,
        crashes: row.get(15)?,
        created_at: row.get(3)?,
        due_at: row.get(4)?,
        deadline_at: row.get(10)?,
        claimed_at: since,
    })
}

/// The job with this id.
pub(super) fn load(db: &Connection, lanes: &mut Lanes, id: JobId) -> Result<Option<Job>> {
    db.prepare_cached(&format!("{WHOLE} WHERE j.id = ?1"))?
        .query_row([id], |row| job(db, lanes, row))
        .optional()
}

/// A row of [`WHOLE`] as a job.
pub(super) fn job(db: &Connection, lanes: &mut Lanes, row: &Row<'_>) -> Result<Job> {
    let phase = phase(row)?;
    // While it is held, the stored fence is that of the grant before.
    let held = u64::from(matches!(phase, Phase::Running(_)));
    Ok(Job {
        id: row.get(0)?,
        spec: Arc::new(spec(row, lanes.get(db, row.get(1)?)?)?),
        phase,
        ver: row.get(19)?,
        fence: row.get::<_, u64>(12)? + held,
        epoch: row.get(13)?,
        errors: row.get(14)?,
        crashes: row.get(15)?,
        created_at: row.get(3)?,
        due_at: row.get(4)?,
        expires_at: row.get(18)?,
        deadline_at: row.get(10)?,
        progress: decode(&row.get_ref(24)?),
        history: decode(&row.get_ref(25)?).unwrap_or_default(),
    })
}

fn phase(row: &Row<'_>) -> Result<Phase> {
    let ended: Option<String> = row.get(20)?;
    let how = match ended.as_deref() {
        Some("succeeded") => How::Succeeded(text(row, 26)?.map_or_else(Json::null, Json::trusted)),
        Some("cancelled") => How::Cancelled,
        Some(_) => How::Dead(columns::reason(
            row.get_ref(21)?.as_str().unwrap_or_default(),
        )),
        None => return waiting_or_held(row),
    };
    Ok(Phase::Ended(Ended {
        how,
        at: row.get(22)?,
        purge_at: row.get(23)?,
    }))
}

fn waiting_or_held(row: &Row<'_>) -> Result<Phase> {
    let Some(token) = row.get(27)? else {
        return Ok(Phase::Ready {
            touch_at: row.get(32)?,
        });
    };
    Ok(Phase::Running(Hold {
        token,
        owner: row.get(28)?,
        since: row.get(29)?,
        lease_until: row.get(30)?,
        cancel: row.get(31)?,
    }))
}

macro_rules! sql_bytes {
    ($($type:ty),*) => {$(
        impl ToSql for $type {
            fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
                Ok(ToSqlOutput::Borrowed(ValueRef::Blob(self.as_bytes())))
            }
        }

        impl FromSql for $type {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                let bytes = value.as_blob()?;
                <[u8; 16]>::try_from(bytes).map(Self::from_bytes).map_err(|_| {
                    FromSqlError::InvalidBlobSize { expected_size: 16, blob_size: bytes.len() }
                })
            }
        }
    )*};
}

sql_bytes!(JobId, Token, Owner);

impl ToSql for Timestamp {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
        Ok(self.as_millis().into())
    }
}

impl FromSql for Timestamp {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_i64().map(Self::from_millis)
    }
}
