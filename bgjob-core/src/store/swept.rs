//! [`Swept`]: what a sweep returns.

use std::sync::Arc;

use crate::{
    job::{DeadReason, Failure, Job, JobId, State},
    queue::Hint,
};

/// What a sweep did to one job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Swept {
    /// T7 (revoke): its lease had run out, and it was taken from its holder.
    Revoked {
        /// The job.
        id: JobId,
        /// Its new state.
        state: State,
        /// A summary for events.
        job: Box<SweptJob>,
    },
    /// T11 (expire): it was too late and is Dead.
    Expired {
        /// The job.
        id: JobId,
        /// A summary for events.
        job: Box<SweptJob>,
    },
    /// T8 (touch): the caller must push this hint.
    Touched(Hint),
    /// Nothing, because the job can't be read. [`JobStore::get`](crate::JobStore::get) says where
    /// it is.
    Unreadable {
        /// The job.
        id: JobId,
    },
}

impl Swept {
    /// For a job that was just revoked.
    pub fn revoked(job: &Job) -> Self {
        Self::Revoked {
            id: job.id,
            state: job.state(),
            job: Box::new(SweptJob::of(job)),
        }
    }

    /// For a job that has just ended because it was too late.
    pub fn expired(job: &Job) -> Self {
        Self::Expired {
            id: job.id,
            job: Box::new(SweptJob::of(job)),
        }
    }
}

/// A summary of a job that a sweep has changed, without its metadata.
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
    /// The summary of this job.
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
