//! What can be asked of jobs by their id, and how they are found.

use std::sync::Arc;

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
    /// What the store says.
    pub async fn get(&self, id: JobId) -> Result<Option<Job>> {
        Ok(self.store().get(&[id]).await?.pop().flatten())
    }

    /// What the workers are called that hold jobs, or held them: the `owner` of a running job's
    /// [`Hold`](crate::job::Hold) and of each [`Attempt`](crate::job::Attempt). See
    /// [`worker_name`](crate::DispatcherBuilder::worker_name). `None` where a store does not keep
    /// names (files don't; memory, SQLite and PostgreSQL do), and a month after the worker was last
    /// heard of.
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
    /// What the store says.
    pub async fn worker_names(&self, owners: &[Owner]) -> Result<Vec<Option<String>>> {
        self.store().worker_names(owners).await
    }

    /// A handle for a job whose id was kept from elsewhere. `T` is the type of its result; nothing
    /// is looked up yet.
    pub fn handle<T>(&self, id: JobId) -> JobHandle<Outcome<T>> {
        JobHandle::existing_one(self.clone(), id)
    }

    /// How many jobs of which name each queue has, and what becomes of them; sorted by queue and
    /// name. What a name's jobs in a queue are is told at once, however many are over: on the
    /// memory, SQLite and PostgreSQL stores this takes milliseconds.
    ///
    /// # Errors
    /// What the store says.
    pub async fn counts(&self) -> Result<Vec<QueueCounts>> {
        let mut counts = self.store().counts().await?;
        counts.sort_by(|a, b| (&a.queue, &a.name).cmp(&(&b.queue, &b.name)));
        Ok(counts)
    }

    /// Ends a job: at once if it waits; a running one is asked to end and is still
    /// [`JobState::Running`] then. Cancelling twice is cancelling once.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` if it succeeded or is dead.
    pub async fn cancel(&self, id: JobId) -> Result<JobState> {
        let state = self.operate(id, &Operation::Cancel).await?;
        if state == JobState::Running {
            self.inner.cancels.send_modify(|cancels| *cancels += 1);
        }
        Ok(state)
    }

    /// Runs a job that is over (dead, cancelled or succeeded) once more: counters at zero, one
    /// epoch on, its history kept.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` if it is not over; `AlreadyExists` if another live job has its unique
    /// key.
    pub async fn requeue(&self, id: JobId) -> Result<()> {
        self.ready(id, &Operation::Requeue(Due::Now)).await
    }

    /// Changes when a waiting job is due; `Due::Now` also ends the wait for a retry.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` if it does not wait; `InvalidInput` for more than ten years from now.
    pub async fn reschedule(&self, id: JobId, due: Due) -> Result<()> {
        super::options::check_due(due).map_err(|error| error.about(id))?;
        self.ready(id, &Operation::Reschedule(due)).await
    }

    /// Replaces the metadata of a waiting job that was read before, with the version of `read`.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` if it does not wait, or was edited since it was read: read it again;
    /// `InvalidInput` where the metadata is too large.
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

    /// Forgets a job that is over.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` if it is not over: cancel it first.
    pub async fn delete(&self, id: JobId) -> Result<()> {
        self.operate(id, &Operation::Delete).await.map(drop)
    }

    /// Forgets all jobs past their retention. Dispatchers do so by themselves; this is for stores
    /// that no dispatcher works on. Answers how many it were.
    ///
    /// # Errors
    /// What the store says; what was purged until then stays purged.
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

    /// Does what makes a job ready, and hints at it.
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
            let hint = Hint {
                id,
                queue: Arc::clone(&job.spec.queue),
                priority: job.spec.priority,
            };
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
