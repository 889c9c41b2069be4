//! What can be asked of jobs by their id, and how they are found.

use std::{
    fmt,
    future::{Future, IntoFuture},
    pin::Pin,
    str::FromStr,
    sync::Arc,
};

use serde::Serialize;

use super::{JobHandle, JobManager, handle::gone, push};
use crate::{
    Error, ErrorKind, Job, JobId, JobState, Outcome, Result,
    job::{
        Due, Json,
        transition::{Operated, Operation},
    },
    queue::Hint,
    store::{Filter, QueueCount},
};

/// Jobs on one page of a list unless told otherwise, and at most.
const PAGE: usize = 100;
const PAGE_MAX: usize = 1000;

impl JobManager {
    /// The job with this id, if there is one.
    ///
    /// # Errors
    /// What the store says.
    pub async fn get(&self, id: JobId) -> Result<Option<Job>> {
        Ok(self.store().get(&[id]).await?.pop().flatten())
    }

    /// A handle for a job whose id was kept from elsewhere. `T` is the type of its result; nothing
    /// is looked up yet.
    pub fn handle<T>(&self, id: JobId) -> JobHandle<Outcome<T>> {
        JobHandle::new(self.clone(), id, true, true)
    }

    /// Jobs in the order of their ids (for those bgjob named: of their making), a page at a time.
    ///
    /// ```
    /// use bgjob::prelude::*;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> bgjob::Result<()> {
    /// let jobs = JobManager::connect("memory:").await?;
    /// jobs.enqueue_raw("resize", 1).await?;
    /// jobs.enqueue_raw("resize", 2).await?;
    ///
    /// let first = jobs.list().state(JobState::Ready).limit(1).await?;
    /// let then = jobs.list().state(JobState::Ready).after(first.next.expect("there are
    /// more")).await?; assert_eq!(then.jobs.len(), 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn list(&self) -> List {
        List {
            manager: self.clone(),
            filter: Filter::default(),
            after: None,
            limit: PAGE,
        }
    }

    /// How many jobs of which state each queue has, sorted.
    ///
    /// # Errors
    /// What the store says.
    pub async fn counts(&self) -> Result<Vec<QueueCount>> {
        let mut counts = self.store().counts().await?;
        counts.sort();
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
    /// `NotFound`; `Conflict` if it does not wait.
    pub async fn reschedule(&self, id: JobId, due: Due) -> Result<()> {
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

/// A list about to be read; await it for one [`Page`]. See [`JobManager::list`].
#[derive(Debug, Clone)]
#[must_use = "nothing is read until it is awaited"]
pub struct List {
    manager: JobManager,
    filter: Filter,
    after: Option<Cursor>,
    limit: usize,
}

impl List {
    /// Only of this queue.
    pub fn queue(mut self, queue: impl Into<Arc<str>>) -> Self {
        self.filter.queue = Some(queue.into());
        self
    }

    /// Only of this name.
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.filter.name = Some(name.into());
        self
    }

    /// Only in this state.
    pub fn state(mut self, state: JobState) -> Self {
        self.filter.state = Some(state);
        self
    }

    /// Only with this tag.
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.filter.tag = Some(tag.into());
        self
    }

    /// From where another page ended.
    pub fn after(mut self, cursor: Cursor) -> Self {
        self.after = Some(cursor);
        self
    }

    /// At most so many: 100 unless told otherwise, never more than 1000.
    pub fn limit(mut self, jobs: usize) -> Self {
        self.limit = jobs.clamp(1, PAGE_MAX);
        self
    }

    async fn read(self) -> Result<Page> {
        let after = self.after.map(|cursor| cursor.0);
        let jobs = self
            .manager
            .store()
            .list(&self.filter, after, self.limit)
            .await?;
        let next = if jobs.len() < self.limit {
            None
        } else {
            jobs.last().map(|j| Cursor(j.id))
        };
        Ok(Page { jobs, next })
    }
}

impl IntoFuture for List {
    type Output = Result<Page>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.read())
    }
}

/// One page of a list.
#[derive(Debug, Clone)]
pub struct Page {
    /// The jobs.
    pub jobs: Vec<Job>,
    /// Where the next page begins; `None` if this was the last.
    pub next: Option<Cursor>,
}

/// Where a page ended: opaque, to be handed to [`List::after`]. As text it fits into a URL.
///
/// ```
/// use bgjob::Cursor;
///
/// assert!("nonsense".parse::<Cursor>().is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor(JobId);

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Cursor {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        text.parse().map(Self).map_err(|_: Error| {
            Error::invalid("this is no cursor: hand back what a page gave as `next`, unchanged")
        })
    }
}
