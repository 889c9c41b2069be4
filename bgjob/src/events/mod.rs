//! bgjob's decisions as typed events, and the one place that emits them.
//!
//! Listeners and `tracing` get the same [`Event`]s; the target for `tracing` is `bgjob`. Neither
//! ever gets metadata or results. The text of a handler's error is up to the handler.

mod breaker;
mod dead;
mod place;
mod trace;
mod verdict;
mod words;

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

use crate::{
    CancelReason, Error, JobId, JobState,
    job::{ClaimedJob, DeadReason, Failure},
    lock::Locked,
    store::Finished,
};

pub(crate) use breaker::Breaker;
pub use dead::DeadJob;
pub(crate) use place::Origin;
pub(crate) use trace::Span;
use trace::Voice;
pub use verdict::{Fate, Part, Verdict, Via};

/// One decision. Events are borrowed: a listener copies what it keeps.
///
/// `tracing` gets the same events, under the target `bgjob`. A failed attempt is one line with all
/// that an engineer on call needs: a warning that says when the job is tried next, or an error that
/// says why it is dead.
///
/// ```text
/// WARN bgjob: job failed, retry in 1m 30s name="charge" id=0198c0de-… queue="default"
///     attempt=1 max_attempts=3 ran="12.4ms" worker="web-3:4711" kind="error"
///     error="the bank is busy: connection refused"
/// ERROR bgjob: job failed, dead: no attempts left name="charge" id=0198c0de-… queue="default"
///     attempt=3 max_attempts=3 ran="9.1ms" worker="web-3:4711" dead="errors" kind="error"
///     error="the bank is busy: connection refused"
/// ```
///
/// `error` has the error's text and its causes, cut at 2 KiB, with control characters escaped;
/// [`log_errors`](crate::DispatcherBuilder::log_errors) can leave it out. The line is inside the
/// attempt's span, `job`. The span's field `otel.name` is the job's name, and `otel.status_code` is
/// `ERROR` if the attempt failed: an exporter to OpenTelemetry takes these as the span's name and
/// status.
///
/// ```
/// use bgjob::Event;
///
/// fn count(event: &Event<'_>) {
///     match event {
///         Event::AttemptEnded { job, verdict, fate, .. } => {
///             println!("{} in {}: {verdict}, {fate}", job.spec.name, job.spec.queue);
///         }
///         Event::Revoked { name, id, .. } => println!("{name} {id} lost its worker"),
///         _ => {}
///     }
/// }
/// # drop(count);
/// ```
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A dispatcher has started and serves these jobs.
    Started {
        /// Their names, in order.
        jobs: &'a [&'a str],
        /// The dispatcher's own name.
        worker: &'a str,
    },
    /// This program is built with `panic = "abort"`, so a panic of a handler is a crash: it ends
    /// the process and counts towards `max_crashes`.
    PanicsAbort,
    /// Jobs were stored; emitted once for each name and queue of a batch. Not emitted for jobs in a
    /// transaction of the user's own, as bgjob does not know whether it commits.
    Created {
        /// How many.
        jobs: usize,
        /// Their name.
        name: &'a str,
        /// Their queue.
        queue: &'a str,
    },
    /// Hints could not be pushed; the sweeper will push them later.
    PushFailed {
        /// How many.
        hints: usize,
        /// Why.
        error: &'a Error,
    },
    /// Jobs were claimed.
    Claimed {
        /// How many.
        jobs: usize,
        /// How they were found.
        via: Via,
    },
    /// Hints led to nothing: the job is over, held, not due, or not served here.
    HintsDropped {
        /// How many.
        hints: usize,
    },
    /// A slot started a job.
    AttemptStarted {
        /// Which.
        job: &'a ClaimedJob,
    },
    /// A handler ended or was ended; the end is usually not recorded in the store yet.
    AttemptEnded {
        /// Which.
        job: &'a ClaimedJob,
        /// How.
        verdict: Verdict,
        /// The error, if it ended in one.
        failure: Option<&'a Failure>,
        /// What becomes of the job, as far as its worker knows.
        fate: Fate,
        /// How long it ran.
        ran: Duration,
    },
    /// The store has answered a call that records the end of an attempt.
    Recorded {
        /// Which.
        job: &'a ClaimedJob,
        /// Applied, with the state the job is in now; or lost, because the lease was lost.
        answer: Finished,
        /// The end was sent more than once, so `Lost` may mean that an earlier call applied it.
        repeated: bool,
    },
    /// A running job was asked to end.
    CancelRequested {
        /// Which.
        job: &'a ClaimedJob,
        /// Why.
        reason: CancelReason,
    },
    /// A handler can't be stopped, because it blocks its thread; its slot stays taken.
    SlotStuck {
        /// Which.
        job: &'a ClaimedJob,
    },
    /// A handler waits for the end of another job of its queue, and that job finds no free slot:
    /// perhaps it needs the slot that this handler occupies. Emitted at most once per attempt, ten
    /// seconds after it began at the earliest, or at its time-out.
    WaitsForSlot {
        /// The job that waits.
        job: &'a ClaimedJob,
        /// The job it waits for.
        on: JobId,
    },
    /// A handler awaited the end of the dispatcher that runs it. The call returned at once, as the
    /// handler would have waited for itself.
    WaitsForItself {
        /// Which.
        job: &'a ClaimedJob,
    },
    /// A job has started more than ten times and asks to run again at once: from its eleventh start
    /// on it waits at least [`limits::FLOOR`](crate::job::limits::FLOOR).
    Slowed {
        /// Which.
        job: &'a ClaimedJob,
        /// It is the first job of its name that this dispatcher reports.
        first: bool,
    },
    /// A job has died: by the end of an attempt, by a crash of its worker, or because it was too
    /// late. Emitted by the dispatcher that recorded the death, at most once per death.
    Dead {
        /// Which, and why.
        job: &'a DeadJob,
        /// An earlier event has already reported this death.
        announced: bool,
    },
    /// `on_dead` is so slow that too many deaths wait for it: it is not called for these.
    DeathsUntold {
        /// How many.
        jobs: usize,
    },
    /// The sweeper took a job from a worker that no longer renewed its lease.
    Revoked {
        /// Which.
        id: JobId,
        /// Its name.
        name: &'a str,
        /// Its queue.
        queue: &'a str,
        /// The state it is in now.
        state: JobState,
    },
    /// The sweeper ended a job that was too late.
    Expired {
        /// Which.
        id: JobId,
        /// Its name.
        name: &'a str,
        /// Its queue.
        queue: &'a str,
        /// What it was too late for: `Expired` or `Deadline`.
        reason: DeadReason,
    },
    /// The sweeper pushed hints for jobs again.
    Rehinted {
        /// How many.
        hints: usize,
    },
    /// A stored job can't be read: it is left as it is, reported once, and affects no other job.
    Unreadable {
        /// Which.
        id: JobId,
        /// Where it is, and what to do.
        error: &'a Error,
    },
    /// Jobs have been due for a while and no worker runs them: no running worker knows their name
    /// or serves their queue. Checked about once a minute.
    Unserved {
        /// Their name.
        name: &'a str,
        /// Their queue.
        queue: &'a str,
        /// How many are due.
        jobs: u64,
        /// How long the oldest of them has been due.
        waiting: Duration,
        /// What to do.
        advice: &'a str,
    },
    /// Old jobs were deleted.
    Purged {
        /// How many.
        jobs: usize,
    },
    /// A step of the upkeep failed although the store works otherwise. The step is tried again in
    /// the next pass and does not stop other steps.
    UpkeepFailed {
        /// Which: `sweep` or `purge`.
        step: &'static str,
        /// Why.
        error: &'a Error,
    },
    /// A store or queue failed; bgjob keeps trying for ever.
    Down {
        /// Which.
        part: Part,
        /// Why.
        error: &'a Error,
    },
    /// A store or queue works again.
    Up {
        /// Which.
        part: Part,
        /// How long it was down.
        after: Duration,
    },
    /// The runtime that runs the jobs has not run its timer for this long: something blocks its
    /// threads.
    RuntimeStalled {
        /// How long.
        silent: Duration,
    },
    /// A call to a store or queue panicked, which is a bug of its provider. The call counts as
    /// failed.
    CallPanicked {
        /// Which of the two.
        part: Part,
    },
    /// A loop of the dispatcher panicked, which is a bug; it is started again.
    LoopFailed {
        /// Which.
        name: &'static str,
    },
    /// The dispatcher claims no more jobs and lets the running ones end.
    Draining {
        /// How many jobs run.
        running: usize,
    },
    /// The dispatcher has ended.
    Stopped {
        /// Jobs that ended while it drained.
        drained: usize,
        /// Jobs that were given back.
        released: usize,
        /// Jobs whose end the store did not confirm; the sweeper will find them.
        unknown: usize,
    },
}

type Listener = dyn Fn(&Event<'_>) + Send + Sync;
type Listeners = Vec<Arc<Listener>>;
type Guests = Mutex<Vec<Weak<Listeners>>>;

/// Emits events to listeners and `tracing`. Cheap to clone.
///
/// A manager and its dispatchers share their listeners: a listener given to either builder gets the
/// events of both.
#[derive(Clone)]
pub(crate) struct Events {
    /// The listeners given to this builder.
    own: Arc<Listeners>,
    /// In a dispatcher: the listeners of its manager.
    host: Arc<Listeners>,
    /// In a manager: the listeners of its dispatchers, while they live. `None` in a dispatcher.
    guests: Option<Arc<Guests>>,
    /// The worker's name in logs. `None` in a manager.
    worker: Option<Arc<str>>,
    /// Whether the texts of handlers' errors are logged.
    log_errors: bool,
}

impl Default for Events {
    fn default() -> Self {
        Self {
            own: Arc::default(),
            host: Arc::default(),
            guests: Some(Arc::default()),
            worker: None,
            log_errors: true,
        }
    }
}

impl Events {
    pub(crate) fn add(&mut self, listener: impl Fn(&Event<'_>) + Send + Sync + 'static) {
        let mut own = Listeners::clone(&self.own);
        own.push(Arc::new(listener));
        self.own = Arc::new(own);
    }

    /// Sets whether the texts of handlers' errors are logged.
    pub(crate) fn log_errors(&mut self, log: bool) {
        self.log_errors = log;
    }

    /// Sets the worker's name for logs.
    pub(crate) fn speaks_for(&mut self, worker: Arc<str>) {
        self.worker = Some(worker);
    }

    /// Makes these the events of a dispatcher of the manager that has `manager`: from here on the
    /// listeners of each get the events of both.
    pub(crate) fn at(mut self, manager: &Self) -> Self {
        self.host = Arc::clone(&manager.own);
        self.guests = None;
        if !self.own.is_empty()
            && let Some(guests) = &manager.guests
        {
            let mut guests = guests.locked();
            guests.retain(|guest| guest.strong_count() > 0);
            guests.push(Arc::downgrade(&self.own));
        }
        self
    }

    pub(crate) fn emit(&self, event: Event<'_>) {
        // Listeners may panic; that must not take down a slot or a loop.
        let voice = Voice {
            worker: self.worker.as_deref(),
            errors: self.log_errors,
        };
        let _ = catch_unwind(AssertUnwindSafe(|| trace::trace(&event, voice)));
        let tell = |listeners: &Listeners| {
            for listener in listeners {
                let _ = catch_unwind(AssertUnwindSafe(|| listener(&event)));
            }
        };
        tell(&self.host);
        tell(&self.own);
        // Called without the lock, because a listener may start a dispatcher.
        self.guests().iter().for_each(|guest| tell(guest));
    }

    /// Whether anything receives events at the debug level: a listener, or `tracing` at `DEBUG`.
    pub(crate) fn is_heard(&self) -> bool {
        let listens = |listeners: &Listeners| !listeners.is_empty();
        listens(&self.own)
            || listens(&self.host)
            || !self.guests().is_empty()
            || catch_unwind(|| trace::is_heard(tracing::Level::DEBUG)).unwrap_or(false)
    }

    /// The span of one attempt; everything that its handler logs is inside.
    pub(crate) fn span(job: &ClaimedJob) -> Span {
        catch_unwind(AssertUnwindSafe(|| trace::span(job))).unwrap_or_else(|_| Span::none())
    }

    /// Emits the end of an attempt, inside its span.
    pub(crate) fn emit_end(&self, span: &Span, event: Event<'_>) {
        if let Event::AttemptEnded {
            verdict, failure, ..
        } = &event
        {
            let mark = || trace::mark(span, *verdict, *failure);
            let _ = catch_unwind(AssertUnwindSafe(mark));
        }
        let emit = || span.in_scope(|| self.emit(event));
        // `emit` catches panics of what it calls; this catches those of entering and leaving the
        // span.
        let _ = catch_unwind(AssertUnwindSafe(emit));
    }

    fn guests(&self) -> Vec<Arc<Listeners>> {
        let Some(guests) = &self.guests else {
            return Vec::new();
        };
        let guests = guests.locked();
        guests.iter().filter_map(Weak::upgrade).collect()
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let listeners = self.own.len() + self.host.len();
        write!(f, "Events({listeners} listeners)")
    }
}
