//! A job as a document holds it: with the token that its `Serialize` leaves out.

use serde::{Serialize, Serializer};
use uuid::Uuid;

use crate::{
    Job, JobId, JobSpec, Owner, Progress, Timestamp,
    job::{Attempt, Ended, Hold, Phase},
};

/// [`Job`], field by field.
#[derive(Serialize)]
struct Stored<'a> {
    id: JobId,
    spec: &'a JobSpec,
    phase: StoredPhase<'a>,
    ver: u64,
    fence: u64,
    epoch: u32,
    errors: u32,
    crashes: u32,
    created_at: Timestamp,
    due_at: Timestamp,
    expires_at: Option<Timestamp>,
    deadline_at: Option<Timestamp>,
    progress: &'a Option<Progress>,
    history: &'a [Attempt],
}

/// [`Phase`].
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum StoredPhase<'a> {
    Ready { touch_at: Timestamp },
    Running(StoredHold),
    Ended(&'a Ended),
}

/// [`Hold`].
#[derive(Serialize)]
struct StoredHold {
    token: Uuid,
    owner: Owner,
    since: Timestamp,
    lease_until: Timestamp,
    cancel: bool,
}

impl<'a> From<&'a Phase> for StoredPhase<'a> {
    fn from(phase: &'a Phase) -> Self {
        match phase {
            Phase::Ready { touch_at } => Self::Ready {
                touch_at: *touch_at,
            },
            Phase::Running(hold) => Self::Running(hold.into()),
            Phase::Ended(ended) => Self::Ended(ended),
        }
    }
}

impl From<&Hold> for StoredHold {
    fn from(hold: &Hold) -> Self {
        let Hold {
            token,
            owner,
            since,
            lease_until,
            cancel,
        } = *hold;
        Self {
            token: Uuid::from_bytes(*token.as_bytes()),
            owner,
            since,
            lease_until,
            cancel,
        }
    }
}

/// Writes a whole job. The compiler reports a new field that is missing here.
pub(super) fn job<S: Serializer>(job: &Job, to: S) -> Result<S::Ok, S::Error> {
    let Job {
        id,
        spec,
        phase,
        ver,
        fence,
        epoch,
        errors,
        crashes,
        created_at,
        due_at,
        expires_at,
        deadline_at,
        progress,
        history,
    } = job;
    let stored = Stored {
        id: *id,
        spec,
        phase: phase.into(),
        ver: *ver,
        fence: *fence,
        epoch: *epoch,
        errors: *errors,
        crashes: *crashes,
        created_at: *created_at,
        due_at: *due_at,
        expires_at: *expires_at,
        deadline_at: *deadline_at,
        progress,
        history,
    };
    stored.serialize(to)
}
