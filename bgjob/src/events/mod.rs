//! What bgjob decides, as typed events, and the one place that emits them.
//!
//! Listeners get every [`Event`]; `tracing` gets the same, under the target `bgjob`. Neither ever
//! sees metadata or results; the text of a handler's error is the handler's own.

mod breaker;
mod dead;
mod place;
mod trace;
mod verdict;
mod words;

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use crate::{
    CancelReason, Error, JobId, JobState,
    job::{ClaimedJob, DeadReason, Failure},
    store::Finished,
};

pub(crate) use breaker::Breaker;
pub use dead::DeadJob;
pub(crate) use place::Place;
pub(crate) use trace::Span;
use trace::Voice;
pub use verdict::{Fate, Part, Verdict, Via};

/// One decision. Borrowed: a listener copies what it keeps.
///
/// `tracing` is told the same, under the target `bgjob`. A failed attempt is one line, with all
/// that whoever is on call asks for: a warning that says when the job is tried next, or an error
/// that says why it is dead.
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
/// `error` has the error's text and its causes, cut at 2 KiB, its control characters escaped;
/// [`log_errors`](crate::DispatcherBuilder::log_errors) leaves it out. The line is inside the
/// attempt's span, `job`, whose field `otel.name` is the job's name, and `otel.status_code` is
/// `ERROR` if it failed. For an exporter to OpenTelemetry that is the span's name and its status.
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
    /// This program aborts when something panics, so a panic of a handler is a crash: it ends the
    /// process, and counts towards `max_crashes`.
    PanicsAbort,
    /// Jobs were stored: told once for each name and queue of a batch. Not told of those in a
    /// transaction of the user's own, of which nobody here knows whether it commits.
    Created {
        /// How many.
        jobs: usize,
        /// Their name.
        name: &'a str,
        /// Their queue.
        queue: &'a str,
    },
    /// Hints could not be pushed; the sweeper will give them.
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
    /// A slot took up a job.
    AttemptStarted {
        /// Which.
        job: &'a ClaimedJob,
    },
    /// A handler ended, or was ended; the store does not know yet.
    AttemptEnded {
        /// Which.
        job: &'a ClaimedJob,
        /// How.
        verdict: Verdict,
        /// The error it ended in.
        failure: Option<&'a Failure>,
        /// What becomes of the job, as far as its worker knows.
        fate: Fate,
        /// How long it ran.
        ran: Duration,
    },
    /// The store has answered the end of an attempt.
    Recorded {
        /// Which.
        job: &'a ClaimedJob,
        /// Applied, with the state the job is in now; or lost, because the lease had gone.
        answer: Finished,
        /// The end was sent more than once, so `Lost` may mean that an earlier one was applied.
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
    /// A handler waits for the end of another job of its queue, which finds no free slot: perhaps
    /// it needs the one that this handler has. Told once an attempt, ten seconds after it began or
    /// at its time-out.
    WaitsForSlot {
        /// Who waits.
        job: &'a ClaimedJob,
        /// For what.
        on: JobId,
    },
    /// A handler awaited the end of the dispatcher that runs it. It was not made to wait for
    /// itself.
    WaitsForItself {
        /// Which.
        job: &'a ClaimedJob,
    },
    /// A job has asked to run again at once more than ten times: from its eleventh start on it
    /// waits [`limits::FLOOR`](crate::job::limits::FLOOR).
    Slowed {
        /// Which.
        job: &'a ClaimedJob,
        /// It is the first of its name that this dispatcher tells of.
        first: bool,
    },
    /// A job has died: by the end of an attempt, by a crash of its worker, or because it was too
    /// late. Told by whoever recorded it, at most once a death.
    Dead {
        /// Which, and why.
        job: &'a DeadJob,
        /// An event before this one has said so.
        announced: bool,
    },
    /// `on_dead` is so slow that too many deaths wait for it: it is not told of these.
    DeathsUntold {
        /// How many.
        jobs: usize,
    },
    /// The sweeper took a job from a holder that no longer renewed.
    Revoked {
        /// Which.
        id: JobId,
        /// Its name.
        name: &'a str,
        /// Its queue.
        queue: &'a str,
        /// Where it stands now.
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
    /// The sweeper hinted at jobs again.
    Rehinted {
        /// How many.
        hints: usize,
    },
    /// A stored job can't be read: it is left as it is, told once, and hurts no other job.
    Unreadable {
        /// Which.
        id: JobId,
        /// Where it is, and what to do.
        error: &'a Error,
    },
    /// Jobs have been due for a while and nobody runs them: no worker that is at work knows their
    /// name, or serves their queue. Looked for about once a minute.
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
    /// Old jobs were forgotten.
    Purged {
        /// How many.
        jobs: usize,
    },
    /// A step of the upkeep failed while the store works otherwise: it is tried again at the next
    /// pass, and keeps no other step from its work.
    UpkeepFailed {
        /// Which: `sweep` or `purge`.
        step: &'static str,
        /// How.
        error: &'a Error,
    },
    /// A store or queue failed; it is tried again for ever.
    Down {
        /// Which.
        part: Part,
        /// How.
        error: &'a Error,
    },
    /// A store or queue is back.
    Up {
        /// Which.
        part: Part,
        /// How long it was away.
        after: Duration,
    },
    /// The threads that run the jobs have not come round for this long: something blocks them.
    RuntimeStalled {
        /// How long.
        silent: Duration,
    },
    /// A call to a store or queue panicked, which is a bug of its provider. It counts as one that
    /// failed.
    CallPanicked {
        /// Whose.
        part: Part,
    },
    /// A loop of the dispatcher panicked, which is a bug; it is started again.
    LoopFailed {
        /// Which.
        name: &'static str,
    },
    /// The dispatcher claims no more and lets end what runs.
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
        /// Jobs whose end the store never confirmed; the sweeper will find them.
        unknown: usize,
    },
}

type Listener = dyn Fn(&Event<'_>) + Send + Sync;
type Listeners = Vec<Arc<Listener>>;
type Guests = Mutex<Vec<Weak<Listeners>>>;

/// Where decisions are told. Cheap to clone.
///
/// A manager and its dispatchers share their listeners: what was given to either builder hears
/// both.
#[derive(Clone)]
pub(crate) struct Events {
    /// Those that were given here.
    own: Arc<Listeners>,
    /// Those of the manager that this is a dispatcher of.
    host: Arc<Listeners>,
    /// Those of this manager's dispatchers, as long as they live; none of a dispatcher.
    guests: Option<Arc<Guests>>,
    /// Who speaks, in logs.
    worker: Option<Arc<str>>,
    /// Texts of errors are logged.
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

    /// Whether texts of errors are logged.
    pub(crate) fn log_errors(&mut self, log: bool) {
        self.log_errors = log;
    }

    /// Who speaks, in logs.
    pub(crate) fn speaks_for(&mut self, worker: Arc<str>) {
        self.worker = Some(worker);
    }

    /// As those of a dispatcher of the manager with these: each hears the other from here on.
    pub(crate) fn at(mut self, manager: &Self) -> Self {
        self.host = Arc::clone(&manager.own);
        self.guests = None;
        if !self.own.is_empty()
            && let Some(guests) = &manager.guests
        {
            let mut guests = guests.lock().unwrap_or_else(PoisonError::into_inner);
            guests.retain(|guest| guest.strong_count() > 0);
            guests.push(Arc::downgrade(&self.own));
        }
        self
    }

    pub(crate) fn emit(&self, event: Event<'_>) {
        // Who listens may panic: that must not take a slot or a loop down.
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
        // Told without the lock: a listener may start a dispatcher.
        self.guests().iter().for_each(|guest| tell(guest));
    }

    /// Whether anybody would hear of what is only told to listeners and for debugging.
    pub(crate) fn is_heard(&self) -> bool {
        let listens = |listeners: &Listeners| !listeners.is_empty();
        listens(&self.own)
            || listens(&self.host)
            || !self.guests().is_empty()
            || catch_unwind(|| trace::is_heard(tracing::Level::DEBUG)).unwrap_or(false)
    }

    /// The span of one attempt; everything its handler logs is inside.
    pub(crate) fn span(job: &ClaimedJob) -> Span {
        catch_unwind(AssertUnwindSafe(|| trace::span(job))).unwrap_or_else(|_| Span::none())
    }

    /// Tells of an attempt's end, inside its span.
    pub(crate) fn emit_end(&self, span: &Span, event: Event<'_>) {
        if let Event::AttemptEnded {
            verdict, failure, ..
        } = &event
        {
            let mark = || trace::mark(span, *verdict, *failure);
            let _ = catch_unwind(AssertUnwindSafe(mark));
        }
        let emit = || span.in_scope(|| self.emit(event));
        // What `emit` calls is contained there: this is the subscriber's entering and leaving.
        let _ = catch_unwind(AssertUnwindSafe(emit));
    }

    fn guests(&self) -> Vec<Arc<Listeners>> {
        let Some(guests) = &self.guests else {
            return Vec::new();
        };
        let guests = guests.lock().unwrap_or_else(PoisonError::into_inner);
        guests.iter().filter_map(Weak::upgrade).collect()
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let listeners = self.own.len() + self.host.len();
        write!(f, "Events({listeners} listeners)")
    }
}
