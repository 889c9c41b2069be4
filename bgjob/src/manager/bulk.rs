//! Changes of many jobs at once: those that match a filter.

use std::{
    fmt,
    future::{Future, IntoFuture},
    ops::RangeBounds,
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use super::{JobManager, list::filtered, push};
use crate::{
    Error, Job, JobState, Result, Timestamp,
    job::{
        DeadReason, Due, limits,
        transition::{Operated, Operation},
    },
    queue::Hint,
    store::{Filter, Period, Slice},
};

impl JobManager {
    /// Changes many jobs together: say which, then what.
    ///
    /// ```
    /// use bgjob::{job::DeadReason, prelude::*};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> bgjob::Result<()> {
    /// # let jobs = JobManager::connect("memory:").await?;
    /// let lost = jobs.select().name("send_mail").reason(DeadReason::Errors).requeue();
    /// println!("{} jobs would run once more", lost.count().await?);
    /// let done = lost.on_progress(|so_far| println!("{} requeued", so_far.done)).await?;
    /// assert_eq!((done.done, done.refused), (0, 0));
    /// # Ok(())
    /// # }
    /// ```
    pub fn select(&self) -> Select {
        Select {
            manager: self.clone(),
            filter: Filter::default(),
        }
    }
}

/// Which jobs are changed. See [`JobManager::select`].
#[derive(Debug, Clone)]
#[must_use = "nothing is changed until it is said what is to be done, and that is awaited"]
pub struct Select {
    manager: JobManager,
    filter: Filter,
}

impl Select {
    filtered!();

    /// Runs them once more, now. Without a [`state`](Self::state) this changes dead jobs only.
    #[doc(alias = "retry_all")]
    #[doc(alias = "rerun")]
    pub fn requeue(self) -> Bulk {
        self.with(Operation::Requeue(Due::Now))
    }

    /// Cancels them: waiting jobs at once; running jobs are asked to end.
    pub fn cancel(self) -> Bulk {
        self.with(Operation::Cancel)
    }

    /// Changes when waiting jobs are due. `Due::Now` also ends the wait for a retry.
    pub fn reschedule(self, due: Due) -> Bulk {
        self.with(Operation::Reschedule(due))
    }

    /// Deletes those that are over.
    pub fn delete(self) -> Bulk {
        self.with(Operation::Delete)
    }

    fn with(self, operation: Operation) -> Bulk {
        Bulk {
            manager: self.manager,
            filter: self.filter,
            operation,
            progress: None,
        }
    }
}

type OnProgress = Arc<dyn Fn(&Bulked) + Send + Sync>;

/// A change of many jobs that is about to be made; await it. See [`JobManager::select`].
///
/// It goes through the jobs in the order of their ids, at most a thousand a commit. It changes only
/// jobs that exist when it begins (a requeue and a delete: that are over by then), and each of them
/// at most once. So it ends, however fast new jobs come. A job that others change meanwhile is
/// refused or left out.
///
/// It may be dropped or fail at any time: what is done stays done. The same call again goes on with
/// the rest, because changed jobs no longer match. (A reschedule is made again.)
#[derive(Clone)]
#[must_use = "nothing is changed until it is awaited"]
pub struct Bulk {
    manager: JobManager,
    filter: Filter,
    operation: Operation,
    progress: Option<OnProgress>,
}

impl fmt::Debug for Bulk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bulk")
            .field("filter", &self.filter)
            .field("operation", &self.operation)
            .finish_non_exhaustive()
    }
}

/// The result of a change of many jobs, or of its part so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Bulked {
    /// Jobs that were changed.
    pub done: u64,
    /// Jobs that could not be changed, because others changed them meanwhile.
    pub refused: u64,
    /// Jobs that could not be requeued, because another live job has their unique key by now.
    pub key_taken: u64,
}

impl Bulk {
    /// Calls this after each commit with the result so far.
    pub fn on_progress(mut self, tell: impl Fn(&Bulked) + Send + Sync + 'static) -> Self {
        self.progress = Some(Arc::new(tell));
        self
    }

    /// How many jobs the change would affect now; nothing is changed.
    ///
    /// # Errors
    /// As the change itself.
    pub async fn count(&self) -> Result<u64> {
        let begun = self.manager.store().now().await?;
        let mut jobs = 0;
        let mut states = self.states()?;
        states.dedup();
        for state in states {
            let filter = self.narrowed(state, begun);
            let mut slice = Slice::first(limits::BATCH);
            loop {
                let listed = self.manager.store().list(&filter, &slice).await?;
                jobs += listed.jobs.len() as u64;
                match listed.next {
                    Some(next) => slice = slice.after(next),
                    None => break,
                }
            }
        }
        Ok(jobs)
    }

    async fn run(self) -> Result<Bulked> {
        if let Operation::Reschedule(due) = self.operation {
            super::options::check_due(due)?;
        }
        let begun = self.manager.store().now().await?;
        let mut so_far = Bulked::default();
        let mut states = self.states()?;
        if states.len() == 2 {
            // A job that was running when it was looked at may be waiting by now.
            states.push(JobState::Ready);
        }
        for state in states {
            let filter = self.narrowed(state, begun);
            let mut slice = Slice::first(limits::BATCH);
            loop {
                let listed = self.manager.store().list(&filter, &slice).await?;
                if !listed.jobs.is_empty() {
                    self.change(&listed.jobs, &mut so_far).await?;
                    if let Some(tell) = &self.progress {
                        tell(&so_far);
                    }
                }
                match listed.next {
                    Some(next) => slice = slice.after(next),
                    None => break,
                }
            }
        }
        Ok(so_far)
    }

    async fn change(&self, jobs: &[Job], so_far: &mut Bulked) -> Result<()> {
        let each = jobs.iter().map(|job| (job.id, self.operation.clone()));
        let each: Vec<_> = each.collect();
        let answers = self.manager.store().operate_many(&each).await?;
        let mut asked = false;
        let mut hints = Vec::new();
        for (job, answer) in jobs.iter().zip(answers) {
            match answer {
                Operated::Done(state) => {
                    so_far.done += 1;
                    asked |= state == JobState::Running;
                    hints.push(Hint::at(job.id, &job.spec));
                }
                Operated::KeyTaken(_) => so_far.key_taken += 1,
                Operated::Refused(_) | Operated::Stale(_) | Operated::Missing => {
                    so_far.refused += 1;
                }
            }
        }
        if asked {
            let cancels = &self.manager.inner.cancels;
            cancels.send_modify(|cancels| *cancels += 1);
        }
        if makes_due(&self.operation)
            && let Some(queue) = self.manager.queue()
            && !hints.is_empty()
        {
            push(queue.as_ref(), &hints, &self.manager.inner.events).await;
        }
        Ok(())
    }

    /// The states of the jobs that it changes, one after the other.
    fn states(&self) -> Result<Vec<JobState>> {
        use JobState::{Cancelled, Dead, Ready, Running, Succeeded};
        let (may_be, else_only, needs) = match self.operation {
            Operation::Cancel => (
                vec![Ready, Running],
                vec![],
                "waits or runs can be cancelled",
            ),
            Operation::Reschedule(_) => (vec![Ready], vec![], "waits can be rescheduled"),
            Operation::Requeue(_) => (
                vec![Succeeded, Dead, Cancelled],
                vec![Dead],
                "is over can be requeued",
            ),
            Operation::Delete | Operation::Edit { .. } => (
                vec![Succeeded, Dead, Cancelled],
                vec![],
                "is over can be deleted",
            ),
        };
        match self.filter.state {
            Some(state) if may_be.contains(&state) => Ok(vec![state]),
            Some(state) => Err(Error::invalid(format!(
                "only what {needs}, and not {state} jobs"
            ))),
            None if else_only.is_empty() => Ok(may_be),
            None => Ok(else_only),
        }
    }

    /// The jobs in this state that existed when it began.
    fn narrowed(&self, state: JobState, begun: Timestamp) -> Filter {
        let mut filter = self.filter.clone().state(state);
        let until = begun + Duration::from_millis(1);
        if state.is_terminal() {
            filter.ended = ending(filter.ended, until);
        } else {
            filter.created = ending(filter.created, until);
        }
        filter
    }
}

fn ending(period: Period, until: Timestamp) -> Period {
    Period {
        until: period.until.into_iter().chain([until]).min(),
        ..period
    }
}

const fn makes_due(operation: &Operation) -> bool {
    matches!(
        operation,
        Operation::Requeue(Due::Now) | Operation::Reschedule(Due::Now)
    )
}

impl IntoFuture for Bulk {
    type Output = Result<Bulked>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}
