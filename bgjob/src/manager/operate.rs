//! What can be asked of a job by its id, and how a job is found.

use serde::Serialize;

use super::{JobHandle, JobManager, handle::gone, push};
use crate::{
    Error, ErrorKind, Job, JobId, JobState, Outcome, Owner, Result,
    job::{
        Due, Json,
        transition::{Operated, Operation},
    },
    queue::Hint,
    store::QueueCounts,
};

impl JobManager {
    /// The job with this id, if there is one.
    ///
    /// # Errors
    /// The store's own error.
    pub async fn get(&self, id: JobId) -> Result<Option<Job>> {
        Ok(self.store().get(&[id]).await?.pop().flatten())
    }

    /// The names of workers that hold jobs or held them: the `owner` of a running job's
    /// [`Hold`](crate::job::Hold) and of each [`Attempt`](crate::job::Attempt). See
    /// [`worker_name`](crate::DispatcherBuilder::worker_name). `None` where a store does not keep
    /// names (files don't; memory, SQLite and PostgreSQL do), and a month after the worker last
    /// gave its name.
    ///
    /// ```
    /// use bgjob::{job::Phase, prelude::*};
    ///
    /// # async fn shown(jobs: JobManager, id: bgjob::JobId) -> bgjob::Result<()> {
    /// if let Some(job) = jobs.get(id).await?
    ///     && let Phase::Running(hold) = &job.phase
    /// {
    ///     let names = jobs.worker_names(&[hold.owner]).await?;
    ///     println!("{id} runs at {}", names[0].as_deref().unwrap_or("an unknown worker"));
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The store's own error.
    pub async fn worker_names(&self, owners: &[Owner]) -> Result<Vec<Option<String>>> {
        self.store().worker_names(owners).await
    }

    /// A handle for a job whose id was kept elsewhere. `T` is the type of its result. Nothing is
    /// looked up yet.
    pub fn handle<T>(&self, id: JobId) -> JobHandle<Outcome<T>> {
        JobHandle::existing_one(self.clone(), id)
    }

    /// How many jobs of each name each queue has, by state; sorted by queue and name. On the
    /// memory, SQLite and PostgreSQL stores this takes milliseconds, however many jobs are over.
    ///
    /// # Errors
    /// The store's own error.
    pub async fn counts(&self) -> Result<Vec<QueueCounts>> {
        let mut counts = self.store().counts().await?;
        counts.sort_by(|a, b| (&a.queue, &a.name).cmp(&(&b.queue, &b.name)));
        Ok(counts)
    }

    /// Cancels a job: at once if it waits. A running job is asked to end and is still
    /// [`JobState::Running`] when this returns. Cancelling twice has the same effect as once.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` if the job succeeded or is dead.
    pub async fn cancel(&self, id: JobId) -> Result<JobState> {
        let state = self.operate(id, &Operation::Cancel).await?;
        if state == JobState::Running {
            self.inner.cancels.send_modify(|cancels| *cancels += 1);
        }
        Ok(state)
    }

    /// Runs a job that is over (dead, cancelled or succeeded) once more. Its counters are set to
    /// zero, its epoch grows by one, and its history is kept.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` if it is not over; `AlreadyExists` if another live job has its unique
    /// key.
    pub async fn requeue(&self, id: JobId) -> Result<()> {
        self.ready(id, &Operation::Requeue(Due::Now)).await
    }

    /// Changes when a waiting job is due. `Due::Now` also ends the wait for a retry.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` if it does not wait; `InvalidInput` for more than ten years from now.
    pub async fn reschedule(&self, id: JobId, due: Due) -> Result<()> {
        super::options::check_due(due).map_err(|error| error.about(id))?;
        self.ready(id, &Operation::Reschedule(due)).await
    }

    /// Replaces the metadata of a waiting job. `read` is the job as it was read before, and gives
    /// the metadata's version.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` if the job does not wait, or was changed since it was read: read it
    /// again; `InvalidInput` where the metadata is too large.
    pub async fn edit<M: Serialize + ?Sized>(&self, read: &Job, metadata: &M) -> Result<()> {
        let metadata = Json::encode(metadata)?;
        self.check_metadata(&metadata)?;
        let operation = Operation::Edit {
            metadata,
            version: read.spec.version,
            ver: read.ver,
        };
        self.operate(read.id, &operation).await.map(drop)
    }

    /// Deletes a job that is over.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` if it is not over: cancel it first.
    pub async fn delete(&self, id: JobId) -> Result<()> {
        self.operate(id, &Operation::Delete).await.map(drop)
    }

    /// Deletes all jobs past their retention. Dispatchers do so by themselves; this is for stores
    /// that no dispatcher works on. Returns how many were deleted.
    ///
    /// # Errors
    /// The store's own error; what was purged until then stays purged.
    pub async fn purge(&self) -> Result<usize> {
        const BATCH: usize = 1000;
        let mut total = 0;
        loop {
            let purged = self.store().purge(BATCH).await?;
            total += purged;
            if purged < BATCH {
                return Ok(total);
            }
        }
    }

    /// Runs an operation that makes a job ready, and hints at the job.
    async fn ready(&self, id: JobId, operation: &Operation) -> Result<()> {
        self.operate(id, operation).await?;
        let due_now = matches!(
            operation,
            Operation::Requeue(Due::Now) | Operation::Reschedule(Due::Now)
        );
        if let Some(queue) = self.queue()
            && due_now
            && let Some(job) = self.get(id).await?
        {
            let hint = Hint::at(id, &job.spec);
            push(queue.as_ref(), &[hint], &self.inner.events).await;
        }
        Ok(())
    }

    async fn operate(&self, id: JobId, operation: &Operation) -> Result<JobState> {
        let refuse = |kind, message: String| Err(Error::new(kind, message).about(id));
        match self.store().operate(id, operation).await? {
            Operated::Done(state) => Ok(state),
            Operated::Missing => Err(gone(id)),
            Operated::Refused(state) => {
                let needs = match operation {
                    Operation::Cancel => "a job that is over can't be cancelled",
                    Operation::Requeue(_) => "only a job that is over can be requeued",
                    Operation::Reschedule(_) => "only a waiting job can be rescheduled",
                    Operation::Edit { .. } => "only a waiting job can be edited",
                    Operation::Delete => "only a job that is over can be deleted: cancel it first",
                };
                refuse(ErrorKind::Conflict, format!("{needs}; this one is {state}"))
            }
            Operated::Stale(_) => refuse(
                ErrorKind::Conflict,
                "the job was edited since it was read: read it again".to_owned(),
            ),
            Operated::KeyTaken(other) => refuse(
                ErrorKind::AlreadyExists,
                format!("the live job {other} has the same unique key"),
            ),
        }
    }
}
