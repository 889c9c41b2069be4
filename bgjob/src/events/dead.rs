//! [`DeadJob`]: what there is to say of a job that has just died.

use std::sync::Arc;

use crate::{
    JobId,
    job::{ClaimedJob, DeadReason, Failure},
    store::SweptJob,
};

/// A job that has just died: what [`on_dead`](crate::DispatcherBuilder::on_dead) is told.
///
/// It carries no metadata. `last_error` is what the handler itself said.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadJob {
    /// Which.
    pub id: JobId,
    /// Its name.
    pub name: Arc<str>,
    /// Its queue.
    pub queue: Arc<str>,
    /// Why.
    pub reason: DeadReason,
    /// How many errors it had.
    pub errors: u32,
    /// How often its worker's process died with it.
    pub crashes: u32,
    /// The last error of its attempts, if there was one.
    pub last_error: Option<Failure>,
}

impl DeadJob {
    /// By the end of an attempt.
    pub(crate) fn failed(job: &ClaimedJob, reason: DeadReason, failure: &Failure) -> Self {
        Self {
            id: job.id,
            name: Arc::clone(&job.spec.name),
            queue: Arc::clone(&job.spec.queue),
            reason,
            errors: job.errors + 1,
            crashes: job.crashes,
            last_error: Some(failure.clone()),
        }
    }

    /// By a sweep, if the job died of it.
    pub(crate) fn swept(id: JobId, job: &SweptJob) -> Option<Self> {
        Some(Self {
            id,
            name: Arc::clone(&job.name),
            queue: Arc::clone(&job.queue),
            reason: job.dead?,
            errors: job.errors,
            crashes: job.crashes,
            last_error: job.last_error.clone(),
        })
    }
}
