//! Turns a store's answer to an enqueue into the caller's result.

use super::{JobHandle, JobManager};
use crate::{
    Error, ErrorKind, Result,
    job::{NewJob, is_shared},
    store::{Created, Holder},
};

/// The handle of an enqueued job, from the store's answer.
pub(super) fn handle<R>(
    manager: &JobManager,
    job: &NewJob,
    answer: Created,
) -> Result<JobHandle<R>> {
    let existing = |id| Ok(JobHandle::existing_one(manager.clone(), id));
    let refuse = |kind, message: String, id| Err(Error::new(kind, message).about(id));
    match answer {
        Created::Created => Ok(JobHandle::new(manager.clone(), job)),
        Created::Exists => existing(job.id),
        Created::KeyTaken(holder) if is_of(job, &holder) => existing(holder.id),
        Created::KeyTaken(Holder { id, name }) => refuse(
            ErrorKind::AlreadyExists,
            format!(
                "a live job of {} has this unique key",
                name.map_or("another function".to_owned(), |name| format!("`{name}`"))
            ),
            id,
        ),
        Created::IdTaken(name) => refuse(
            ErrorKind::AlreadyExists,
            format!(
                "a job of `{name}` has this id: an id is one job's, of whatever function, so let \
                 its key say whose it is, as in `JobId::from_key(\"{}/17\")`",
                job.spec.name
            ),
            job.id,
        ),
        Created::Rejected(reason) => refuse(ErrorKind::InvalidInput, reason, job.id),
    }
}

/// Whether the holder of the job's unique key is a job of the same function. A holder that can't be
/// read is one if the key belongs to the function.
fn is_of(job: &NewJob, holder: &Holder) -> bool {
    match &holder.name {
        Some(name) => job.is_named(name),
        None => !job.spec.unique_key.as_deref().is_some_and(is_shared),
    }
}
