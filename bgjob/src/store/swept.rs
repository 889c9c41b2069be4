//! [`Swept`]: what a sweep answers.

use std::sync::Arc;

use crate::{
    job::{DeadReason, Failure, Job, JobId, State},
    queue::Hint,
};

/// What a sweep did to one job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Swept {
    /// T7: its lease had run out; it is in this state now.
    Revoked {
        /// The job.
        id: JobId,
        /// Where it stands now.
        state: State,
        /// What there is to say of it.
        job: Box<SweptJob>,
    },
    /// T11: it was too late and is Dead.
    Expired {
        /// The job.
        id: JobId,
        /// What there is to say of it.
        job: Box<SweptJob>,
    },
    /// T8: it is to be hinted at.
    Touched(Hint),
    /// Nothing, as it can't be read: [`JobStore::get`](crate::JobStore::get) says where it is.
    Unreadable {
        /// The job.
        id: JobId,
    },
}

impl Swept {
    /// Of a job that was just revoked.
    pub fn revoked(job: &Job) -> Self {
        Self::Revoked {
            id: job.id,
            state: job.state(),
            job: Box::new(SweptJob::of(job)),
        }
    }

    /// Of a job that has just ended as it was too late.
    pub fn expired(job: &Job) -> Self {
        Self::Expired {
            id: job.id,
            job: Box::new(SweptJob::of(job)),
        }
    }
}

/// What there is to say of a job that a sweep has changed: no metadata is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SweptJob {
    /// Its name.
    pub name: Arc<str>,
    /// Its queue.
    pub queue: Arc<str>,
    /// See [`Job::errors`].
    pub errors: u32,
    /// See [`Job::crashes`].
    pub crashes: u32,
    /// Why it is dead, if it is.
    pub dead: Option<DeadReason>,
    /// See [`Job::last_error`].
    pub last_error: Option<Failure>,
}

impl SweptJob {
    /// What there is to say of this job.
    pub fn of(job: &Job) -> Self {
        Self {
            name: Arc::clone(&job.spec.name),
            queue: Arc::clone(&job.spec.queue),
            errors: job.errors,
            crashes: job.crashes,
            dead: job.dead_reason(),
            last_error: job.last_error().cloned(),
        }
    }
}
