//! [`JobHandle`]: one job that was enqueued.

use std::{fmt, future::poll_fn, marker::PhantomData, pin::pin, task::Poll, time::Duration};

use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::JobManager;
use crate::{
    Error, ErrorKind, IntoOutcome, Job, JobId, JobState, Json, Result, extract::current::WaitNote,
    job::NewJob,
};

/// Safety poll: the job is looked at again after this long, in case a wake-up is lost.
const SAFETY: Duration = Duration::from_secs(5);

/// One job that was enqueued. `R` is what its function returns.
///
/// ```
/// use bgjob::prelude::*;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> bgjob::Result<()> {
/// let jobs = JobManager::connect("memory:").await?;
/// let job = jobs.enqueue_raw("resize", 1).await?;
/// assert!(!job.already_existed());
/// assert_eq!(job.cancel().await?, JobState::Cancelled);
/// # Ok(())
/// # }
/// ```
pub struct JobHandle<R> {
    manager: JobManager,
    id: JobId,
    existing: bool,
    kept: bool,
    result: PhantomData<fn() -> R>,
}

impl<R> JobHandle<R> {
    /// A job that has just been stored.
    pub(super) fn new(manager: JobManager, job: &NewJob) -> Self {
        Self {
            manager,
            id: job.id,
            existing: false,
            kept: !job.spec.retain.is_zero(),
            result: PhantomData,
        }
    }

    /// A job that already existed. Only the store knows whether it is kept.
    pub(super) fn existing_one(manager: JobManager, id: JobId) -> Self {
        Self {
            manager,
            id,
            existing: true,
            kept: true,
            result: PhantomData,
        }
    }

    /// The job's id.
    pub fn id(&self) -> JobId {
        self.id
    }

    /// Whether the enqueue found an existing job, by its id or by its unique key.
    pub fn already_existed(&self) -> bool {
        self.existing
    }

    /// The job's current state.
    ///
    /// # Errors
    /// `NotFound` if the job is gone (purged, deleted, or not kept at all), otherwise the store's
    /// own error.
    pub async fn status(&self) -> Result<JobState> {
        Ok(self.job().await?.state())
    }

    /// The whole job as it is stored.
    ///
    /// # Errors
    /// As for [`status`](Self::status).
    pub async fn job(&self) -> Result<Job> {
        self.manager
            .get(self.id)
            .await?
            .ok_or_else(|| gone(self.id))
    }

    /// Cancels the job: at once if it waits. If it runs, its worker is asked to end it. The worker
    /// drops a handler that has not ended five seconds after it was notified; until then the job is
    /// [`JobState::Running`]. The worker is notified within a second where the store wakes
    /// ([`StoreCapabilities::wakes`](crate::store::StoreCapabilities)), otherwise at its next
    /// renewal: after a third of its lease, ten seconds by default. A `blocking` handler can't be
    /// dropped: it runs until it checks the request itself.
    ///
    /// # Errors
    /// `Conflict` if the job is already over in another way; as for [`status`](Self::status).
    pub async fn cancel(&self) -> Result<JobState> {
        self.manager.cancel(self.id).await
    }

    /// Waits until the job has ended.
    ///
    /// # Errors
    /// As for [`status`](Self::status). The end of a job that is not kept can't be seen:
    /// `NotFound`.
    ///
    /// # Cancel safety
    /// Safe: nothing is lost by dropping the future.
    pub async fn ended(&self) -> Result<Job> {
        self.ended_unless(|_| Ok(())).await
    }

    /// Waits until the job has ended. Stops with the error of `pointless` if waiting for the job it
    /// sees makes no sense.
    async fn ended_unless(&self, pointless: impl Fn(&Job) -> Result<()>) -> Result<Job> {
        let _waits = WaitNote::on(self.id);
        loop {
            let mut wait = pin!(self.manager.store().wait_ended(self.id));
            // The wait begins with its first poll. An end after that wakes it.
            let begun = poll_fn(|cx| Poll::Ready(wait.as_mut().poll(cx))).await;
            let job = self.job().await?;
            if job.state().is_terminal() {
                return Ok(job);
            }
            pointless(&job)?;
            match begun {
                Poll::Ready(answer) => answer?,
                Poll::Pending => {
                    if let Ok(answer) = timeout(SAFETY, wait).await {
                        answer?;
                    }
                }
            }
        }
    }
}

impl<R: IntoOutcome<Output: DeserializeOwned>> JobHandle<R> {
    /// Waits for the job to succeed and returns what its function returned. The store notifies the
    /// waiter of an end within this process. Ends in other processes are polled for: twice a second
    /// on PostgreSQL and on files, within 40 ms on SQLite.
    ///
    /// # Errors
    /// `JobDead` with the last error; `JobCancelled`; `Unsupported`, at once, if the job is not
    /// kept after it succeeds (`retain = "0s"`); `InvalidInput` if the stored result does not fit
    /// the type; as for [`status`](Self::status).
    ///
    /// # Cancel safety
    /// Safe: nothing is lost by dropping the future.
    pub async fn result(&self) -> Result<R::Output> {
        if !self.kept {
            return Err(not_kept(self.id));
        }
        let kept = |job: &Job| match job.spec.retain.is_zero() {
            true => Err(not_kept(job.id)),
            false => Ok(()),
        };
        let job = self.ended_unless(kept).await?;
        let json = success(&job)?;
        json.decode().map_err(|error| error.about(self.id))
    }

    /// [`result`](Self::result), for at most this long.
    ///
    /// # Errors
    /// `Timeout` if the job has not ended by then; as for `result`.
    pub async fn result_within(&self, wait: Duration) -> Result<R::Output> {
        let late = |_| {
            let message = format!("the job has not ended within {wait:?}");
            Error::new(ErrorKind::Timeout, message).about(self.id)
        };
        timeout(wait, self.result()).await.map_err(late)?
    }
}

/// The result of a job that has ended.
fn success(job: &Job) -> Result<&Json> {
    if let Some(result) = job.result() {
        return Ok(result);
    }
    let error = match job.dead_reason() {
        Some(reason) => Error::new(ErrorKind::JobDead, format!("the job is dead ({reason})")),
        None => Error::new(ErrorKind::JobCancelled, "the job was cancelled"),
    };
    let error = match job.last_error() {
        Some(failure) => error.because(failure.message().to_owned()),
        None => error,
    };
    Err(error.about(job.id))
}

fn not_kept(id: JobId) -> Error {
    let message = "this job is deleted when it succeeds (`retain = \"0s\"`), so it has no result \
                   to wait for: let it be retained";
    Error::new(ErrorKind::Unsupported, message).about(id)
}

pub(super) fn gone(id: JobId) -> Error {
    Error::new(ErrorKind::NotFound, "there is no such job (any more)").about(id)
}

impl<R> Clone for JobHandle<R> {
    fn clone(&self) -> Self {
        Self {
            manager: self.manager.clone(),
            result: PhantomData,
            ..*self
        }
    }
}

impl<R> fmt::Debug for JobHandle<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobHandle")
            .field("id", &self.id)
            .field("existing", &self.existing)
            .finish_non_exhaustive()
    }
}
