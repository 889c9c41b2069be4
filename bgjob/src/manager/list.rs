//! Lists of jobs, a page at a time.

use std::{
    fmt,
    future::{Future, IntoFuture},
    ops::RangeBounds,
    pin::Pin,
    str::FromStr,
    sync::Arc,
};

use super::JobManager;
use crate::{
    Error, Job, JobId, JobState, Result, Timestamp,
    job::DeadReason,
    store::{Filter, Order, Slice},
};

/// Jobs on one page of a list, by default and at most.
const PAGE: usize = 100;
const PAGE_MAX: usize = 1000;

impl JobManager {
    /// Jobs in the order of their ids, a page at a time. For ids that bgjob made this is the order
    /// of creation.
    ///
    /// ```
    /// use bgjob::prelude::*;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> bgjob::Result<()> {
    /// let jobs = JobManager::connect("memory:").await?;
    /// let first = jobs.enqueue_raw("resize", 1).await?;
    /// let second = jobs.enqueue_raw("resize", 2).await?;
    ///
    /// let page = jobs.list().state(JobState::Ready).limit(1).await?;
    /// assert_eq!(page.jobs[0].id, first.id());
    /// let next = page.next.expect("there are more");
    /// let then = jobs.list().state(JobState::Ready).after(next).await?;
    /// assert_eq!(then.jobs[0].id, second.id());
    ///
    /// let newest = jobs.list().newest().await?;
    /// assert_eq!(newest.jobs[0].id, second.id());
    /// # Ok(())
    /// # }
    /// ```
    pub fn list(&self) -> List {
        List {
            manager: self.clone(),
            filter: Filter::default(),
            order: Order::Oldest,
            begin: Begin::AtStart,
            limit: PAGE,
        }
    }
}

/// A list about to be read; await it for one [`Page`]. See [`JobManager::list`].
#[derive(Debug, Clone)]
#[must_use = "nothing is read until it is awaited"]
pub struct List {
    manager: JobManager,
    filter: Filter,
    order: Order,
    begin: Begin,
    limit: usize,
}

#[derive(Debug, Clone, Copy)]
enum Begin {
    AtStart,
    After(JobId),
    Before(JobId),
}

/// The methods that choose jobs, for a type with a field `filter`.
macro_rules! filtered {
    () => {
        /// Only jobs that match this filter. Replaces what was set before.
        pub fn filter(mut self, filter: Filter) -> Self {
            self.filter = filter;
            self
        }

        /// Only of this queue.
        pub fn queue(mut self, queue: impl Into<Arc<str>>) -> Self {
            self.filter = self.filter.queue(queue);
            self
        }

        /// Only of this name. Called several times: of any of these names.
        pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
            self.filter = self.filter.name(name);
            self
        }

        /// Only in this state.
        pub fn state(mut self, state: JobState) -> Self {
            self.filter = self.filter.state(state);
            self
        }

        /// Only jobs that are dead for this reason.
        pub fn reason(mut self, reason: DeadReason) -> Self {
            self.filter = self.filter.reason(reason);
            self
        }

        /// Only with this tag.
        pub fn tag(mut self, tag: impl Into<String>) -> Self {
            self.filter = self.filter.tag(tag);
            self
        }

        /// Only jobs that were created within this period.
        pub fn created(mut self, within: impl RangeBounds<Timestamp>) -> Self {
            self.filter = self.filter.created(within);
            self
        }

        /// Only jobs that are due within this period, or were when they last ran.
        pub fn due(mut self, within: impl RangeBounds<Timestamp>) -> Self {
            self.filter = self.filter.due(within);
            self
        }

        /// Only jobs that ended within this period.
        pub fn ended(mut self, within: impl RangeBounds<Timestamp>) -> Self {
            self.filter = self.filter.ended(within);
            self
        }

        /// Only jobs whose last error, causes included, contains this text.
        pub fn error(mut self, text: impl Into<String>) -> Self {
            self.filter = self.filter.error(text);
            self
        }
    };
}
pub(super) use filtered;

impl List {
    filtered!();

    /// The newest first: from the greatest id down.
    pub const fn newest(mut self) -> Self {
        self.order = Order::Newest;
        self
    }

    /// The page after this cursor, which is the [`next`](Page::next) of another page.
    pub const fn after(mut self, cursor: Cursor) -> Self {
        self.begin = Begin::After(cursor.0);
        self
    }

    /// The page before this cursor, which is the [`previous`](Page::previous) of another page.
    pub const fn before(mut self, cursor: Cursor) -> Self {
        self.begin = Begin::Before(cursor.0);
        self
    }

    /// At most this many: 100 by default, never more than 1000.
    pub fn limit(mut self, jobs: usize) -> Self {
        self.limit = jobs.clamp(1, PAGE_MAX);
        self
    }

    async fn read(self) -> Result<Page> {
        let (order, after) = match self.begin {
            Begin::AtStart => (self.order, None),
            Begin::After(id) => (self.order, Some(id)),
            // Read in the other direction, then reversed.
            Begin::Before(id) => (turned(self.order), Some(id)),
        };
        let slice = Slice {
            order,
            after,
            limit: self.limit,
        };
        let mut listed = self.manager.store().list(&self.filter, &slice).await?;
        let further = listed.next.map(Cursor);
        Ok(if let Begin::Before(_) = self.begin {
            listed.jobs.reverse();
            Page {
                next: listed.jobs.last().map(|job| Cursor(job.id)),
                jobs: listed.jobs,
                previous: further,
            }
        } else {
            let first = listed.jobs.first().map(|job| job.id).or(after);
            Page {
                jobs: listed.jobs,
                next: further,
                previous: after.and(first).map(Cursor),
            }
        })
    }
}

const fn turned(order: Order) -> Order {
    match order {
        Order::Oldest => Order::Newest,
        Order::Newest => Order::Oldest,
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
    /// The jobs. There may be fewer than were asked for, or none, even if there are more: a store
    /// looks at no more than a bounded number of jobs a page. Check [`next`](Self::next).
    pub jobs: Vec<Job>,
    /// Where the next page begins; `None` if this was the last.
    pub next: Option<Cursor>,
    /// Where the page before this one ends; `None` if this was the first.
    pub previous: Option<Cursor>,
}

/// Where a page ended: opaque, for [`List::after`] or [`List::before`]. It stays valid while jobs
/// come and go. Its text fits into a URL.
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
