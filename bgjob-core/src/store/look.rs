//! What callers that only look ask of a store: [`Filter`], [`Slice`], [`QueueCounts`].

use std::{
    ops::{Bound, RangeBounds},
    sync::Arc,
    time::Duration,
};

use crate::{
    Job, JobId, Timestamp,
    job::{DeadReason, Phase, State},
};

/// Which jobs are listed or changed: those that match every field that is set.
///
/// ```
/// use bgjob::{Filter, JobState, Timestamp};
///
/// let noon = Timestamp::from_millis(1_700_000_000_000);
/// let filter = Filter::default()
///     .name("send_mail")
///     .name("send_letter")
///     .state(JobState::Dead)
///     .ended(noon..)
///     .error("connection refused");
/// assert_eq!(filter.names.len(), 2);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Filter {
    /// Of this queue.
    pub queue: Option<Arc<str>>,
    /// Of one of these names, or of any name if there are none.
    pub names: Vec<Arc<str>>,
    /// In this state.
    pub state: Option<State>,
    /// Dead for this reason.
    pub reason: Option<DeadReason>,
    /// With this tag.
    pub tag: Option<String>,
    /// Created within this period.
    pub created: Period,
    /// Due within this period. For a job that has started: when it was due last.
    pub due: Period,
    /// Ended within this period.
    pub ended: Period,
    /// The text of its last error, causes included, contains this.
    pub error: Option<String>,
}

impl Filter {
    /// Only of this queue.
    #[must_use]
    pub fn queue(mut self, queue: impl Into<Arc<str>>) -> Self {
        self.queue = Some(queue.into());
        self
    }

    /// Only of this name. Called several times: of any of these names.
    #[must_use]
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.names.push(name.into());
        self
    }

    /// Only in this state.
    #[must_use]
    pub const fn state(mut self, state: State) -> Self {
        self.state = Some(state);
        self
    }

    /// Only jobs that are dead for this reason.
    #[must_use]
    pub const fn reason(mut self, reason: DeadReason) -> Self {
        self.reason = Some(reason);
        self
    }

    /// Only with this tag.
    #[must_use]
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tag = Some(tag.into());
        self
    }

    /// Only jobs that were created within this period.
    #[must_use]
    pub fn created(mut self, within: impl RangeBounds<Timestamp>) -> Self {
        self.created = Period::of(&within);
        self
    }

    /// Only jobs that are due within this period, or were when they last ran.
    #[must_use]
    pub fn due(mut self, within: impl RangeBounds<Timestamp>) -> Self {
        self.due = Period::of(&within);
        self
    }

    /// Only jobs that ended within this period.
    #[must_use]
    pub fn ended(mut self, within: impl RangeBounds<Timestamp>) -> Self {
        self.ended = Period::of(&within);
        self
    }

    /// Only jobs whose last error, causes included, contains this text.
    #[must_use]
    pub fn error(mut self, text: impl Into<String>) -> Self {
        self.error = Some(text.into());
        self
    }

    /// Whether the job matches.
    pub fn fits(&self, job: &Job) -> bool {
        let spec = &job.spec;
        self.fits_kind(&spec.queue, &spec.name)
            && self.state.is_none_or(|state| state == job.state())
            && self.reason.is_none_or(|_| self.reason == job.dead_reason())
            && self.tag.as_ref().is_none_or(|tag| spec.tags.contains(tag))
            && self.created.has(job.created_at)
            && self.due.has(job.due_at)
            && self.fits_end(job)
            && self.fits_error(job)
    }

    /// Whether jobs of this queue and name may match.
    pub fn fits_kind(&self, queue: &str, name: &str) -> bool {
        self.queue.as_ref().is_none_or(|asked| **asked == *queue)
            && (self.names.is_empty() || self.names.iter().any(|asked| **asked == *name))
    }

    /// Whether jobs in this state may match.
    pub fn fits_state(&self, state: State) -> bool {
        self.state.is_none_or(|asked| asked == state)
            && (self.reason.is_none() || state == State::Dead)
            && (self.ended == Period::default() || state.is_terminal())
    }

    fn fits_end(&self, job: &Job) -> bool {
        let at = match &job.phase {
            Phase::Ended(end) => Some(end.at),
            Phase::Ready { .. } | Phase::Running(_) => None,
        };
        self.ended == Period::default() || at.is_some_and(|at| self.ended.has(at))
    }

    fn fits_error(&self, job: &Job) -> bool {
        self.error.as_ref().is_none_or(|text| {
            let last = job.last_error();
            last.is_some_and(|failure| failure.to_string().contains(text.as_str()))
        })
    }
}

/// A period of time: `from` is included, `until` is not. A side that is `None` is open.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Period {
    /// The first moment of the period.
    pub from: Option<Timestamp>,
    /// The first moment after the period.
    pub until: Option<Timestamp>,
}

impl Period {
    /// The period of a range. Times are whole milliseconds.
    pub fn of(range: &impl RangeBounds<Timestamp>) -> Self {
        let next = |time: Timestamp| time + Duration::from_millis(1);
        Self {
            from: match range.start_bound() {
                Bound::Included(time) => Some(*time),
                Bound::Excluded(time) => Some(next(*time)),
                Bound::Unbounded => None,
            },
            until: match range.end_bound() {
                // There is no time after the last one, so the period is open.
                Bound::Included(time) => Some(next(*time)).filter(|next| next > time),
                Bound::Excluded(time) => Some(*time),
                Bound::Unbounded => None,
            },
        }
    }

    /// Whether a moment is within the period.
    pub fn has(&self, time: Timestamp) -> bool {
        self.from.is_none_or(|from| from <= time) && self.until.is_none_or(|until| time < until)
    }
}

/// The direction of a list. Ids that bgjob made grow with time, so for these the order is that of
/// creation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Order {
    /// From the smallest id up.
    #[default]
    Oldest,
    /// From the greatest id down.
    Newest,
}

/// A part of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slice {
    /// Its direction.
    pub order: Order,
    /// It begins after this id, which need not be that of a job.
    pub after: Option<JobId>,
    /// At most this many jobs.
    pub limit: usize,
}

impl Slice {
    /// The first part, from the smallest id up.
    pub const fn first(limit: usize) -> Self {
        Self {
            order: Order::Oldest,
            after: None,
            limit,
        }
    }

    /// The first part, from the greatest id down.
    pub const fn last(limit: usize) -> Self {
        Self {
            order: Order::Newest,
            after: None,
            limit,
        }
    }

    /// The part after this id.
    #[must_use]
    pub const fn after(mut self, id: JobId) -> Self {
        self.after = Some(id);
        self
    }

    /// The smallest and the greatest id that may be in it. `None` where none may.
    ///
    /// ```
    /// use bgjob::{JobId, store::Slice};
    ///
    /// let (zero, one) = (JobId::from_bytes([0; 16]), JobId::from_bytes([1; 16]));
    /// assert_eq!(Slice::first(9).ids().unwrap().0, zero);
    /// assert_eq!(Slice::last(9).after(zero).ids(), None);
    /// assert!(Slice::first(9).after(one).ids().unwrap().0 > one);
    /// ```
    pub fn ids(&self) -> Option<(JobId, JobId)> {
        let number = |id: JobId| u128::from_be_bytes(*id.as_bytes());
        let id = |number: u128| JobId::from_bytes(number.to_be_bytes());
        let (mut least, mut greatest) = (0, u128::MAX);
        match (self.order, self.after) {
            (_, None) => {}
            (Order::Oldest, Some(after)) => least = number(after).checked_add(1)?,
            (Order::Newest, Some(after)) => greatest = number(after).checked_sub(1)?,
        }
        Some((id(least), id(greatest)))
    }
}

/// What a store found for a [`Slice`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Listed {
    /// The jobs, in the order that was asked for.
    pub jobs: Vec<Job>,
    /// The id after which to go on. `None` where nothing is left. A store looks at no more than a
    /// bounded number of jobs and bytes a call, so there may be more jobs even if fewer were
    /// returned than were asked for, or none.
    pub next: Option<JobId>,
}

/// How many jobs of one name there are in one queue, by state.
///
/// ```
/// use bgjob::prelude::*;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> bgjob::Result<()> {
/// let jobs = JobManager::connect("memory:").await?;
/// jobs.enqueue_raw("resize", 1).await?;
/// for count in jobs.counts().await? {
///     let (queue, name) = (&count.queue, &count.name);
///     println!("{queue} {name}: {} due since {:?}", count.due, count.oldest_due_age);
///     assert_eq!((count.due, count.waiting(), count.running), (1, 1, 0));
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueCounts {
    /// The queue.
    pub queue: Arc<str>,
    /// The name.
    pub name: Arc<str>,
    /// Due now: they wait for a free slot of a dispatcher that serves them.
    pub due: u64,
    /// Due later, and not started yet.
    pub delayed: u64,
    /// Due later, and started before: they wait after an error, a crash or a snooze, or were
    /// requeued for later.
    pub backing_off: u64,
    /// Held by a dispatcher. Some of them may be prefetched and wait for a slot: `Health::waiting`
    /// of that dispatcher says how many.
    pub running: u64,
    /// Succeeded, and still kept.
    pub succeeded: u64,
    /// Dead, and still kept.
    pub dead: u64,
    /// Cancelled, and still kept.
    pub cancelled: u64,
    /// How long the job that has been due longest has been due.
    pub oldest_due_age: Option<Duration>,
    /// `due`, `delayed` and `backing_off` are lower bounds: there are more than
    /// [`limits::COUNTED`](crate::job::limits::COUNTED) such jobs, and the store stopped counting.
    pub more: bool,
}

impl QueueCounts {
    /// A count of zero.
    pub fn new(queue: impl Into<Arc<str>>, name: impl Into<Arc<str>>) -> Self {
        Self {
            queue: queue.into(),
            name: name.into(),
            due: 0,
            delayed: 0,
            backing_off: 0,
            running: 0,
            succeeded: 0,
            dead: 0,
            cancelled: 0,
            oldest_due_age: None,
            more: false,
        }
    }

    /// All waiting jobs: due, delayed and backing off.
    pub const fn waiting(&self) -> u64 {
        self.due + self.delayed + self.backing_off
    }

    /// How many jobs are in this state.
    pub const fn jobs(&self, state: State) -> u64 {
        match state {
            State::Ready => self.waiting(),
            State::Running => self.running,
            State::Succeeded => self.succeeded,
            State::Dead => self.dead,
            State::Cancelled => self.cancelled,
        }
    }

    /// All jobs.
    pub const fn total(&self) -> u64 {
        self.waiting() + self.running + self.succeeded + self.dead + self.cancelled
    }

    /// Adds jobs in a state. Waiting jobs are added with [`add_waiting`](Self::add_waiting).
    pub const fn add(&mut self, state: State, jobs: u64) {
        match state {
            State::Ready => self.due += jobs,
            State::Running => self.running += jobs,
            State::Succeeded => self.succeeded += jobs,
            State::Dead => self.dead += jobs,
            State::Cancelled => self.cancelled += jobs,
        }
    }

    /// Adds a waiting job: when it is due, and whether it has been started before.
    pub fn add_waiting(&mut self, due_at: Timestamp, started: bool, now: Timestamp) {
        if due_at <= now {
            self.due += 1;
            self.is_due_since(due_at, now);
        } else if started {
            self.backing_off += 1;
        } else {
            self.delayed += 1;
        }
    }

    /// Adds another count for the same queue and name.
    pub fn join(&mut self, other: &Self) {
        self.due += other.due;
        self.delayed += other.delayed;
        self.backing_off += other.backing_off;
        self.running += other.running;
        self.succeeded += other.succeeded;
        self.dead += other.dead;
        self.cancelled += other.cancelled;
        self.oldest_due_age = self.oldest_due_age.max(other.oldest_due_age);
        self.more |= other.more;
    }

    /// Notes that a due job has been due since `due_at`.
    pub fn is_due_since(&mut self, due_at: Timestamp, now: Timestamp) {
        let age = now.since(due_at);
        self.oldest_due_age = self.oldest_due_age.max(Some(age));
    }
}
