//! [`DeadJob`]: the facts about a job that has just died.

use std::sync::Arc;

use crate::{
    JobId,
    job::{ClaimedJob, DeadReason, Failure},
    store::SweptJob,
};

/// A job that has just died, as [`on_dead`](crate::DispatcherBuilder::on_dead) receives it.
///
/// It carries no metadata. `last_error` holds the text of the handler's own error.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadJob {
    /// The job's id.
    pub id: JobId,
    /// Its name.
    pub name: Arc<str>,
    /// Its queue.
    pub queue: Arc<str>,
    /// Why it died.
    pub reason: DeadReason,
    /// How many errors it had.
    pub errors: u32,
    /// How often a worker's process died while it held the job.
    pub crashes: u32,
    /// The last error of its attempts, if there was one.
    pub last_error: Option<Failure>,
}

impl DeadJob {
    /// A job that died by the end of an attempt.
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

    /// A swept job. `None` if the sweep did not end it.
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
