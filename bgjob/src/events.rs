//! What bgjob decides, as typed events, and the one place that emits them.
//!
//! Listeners get every [`Event`]; `tracing` gets the same, under the target `bgjob`. Neither ever
//! sees metadata or results.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;
pub(crate) use tracing::Span;
use tracing::{Level, debug, error, info, warn};

use crate::{
    CancelReason, Error, ErrorKind, JobId, JobState,
    job::{ClaimedJob, DeadReason, FailureKind},
    store::Finished,
};

/// One decision. Borrowed: a listener copies what it keeps.
///
/// ```
/// use bgjob::Event;
///
/// fn count_dead(event: &Event<'_>) {
///     if let Event::Revoked { id, .. } = event {
///         println!("{id} lost its worker");
///     }
/// }
/// # let _ = count_dead;
/// ```
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A dispatcher has started and serves these jobs.
    Started {
        /// Their names, in order.
        jobs: &'a [&'a str],
    },
    /// This program aborts when something panics, so a panic of a handler is a crash: it ends the
    /// process, and counts towards `max_crashes`.
    PanicsAbort,
    /// Jobs were stored. Not told of those in a transaction of the user's own, of which nobody here
    /// knows whether it commits.
    Created {
        /// How many.
        jobs: usize,
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
    /// The sweeper took a job from a holder that no longer renewed.
    Revoked {
        /// Which.
        id: JobId,
        /// Where it stands now.
        state: JobState,
    },
    /// The sweeper ended a job that was too late.
    Expired {
        /// Which.
        id: JobId,
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

/// How a job was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Via {
    /// The store found it.
    Store,
    /// A hint of the queue.
    Hint,
}

/// How an attempt ended, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Well.
    Success,
    /// In an error of this kind.
    Error(FailureKind),
    /// In an error that ends the job.
    Abort(DeadReason),
    /// It wants to be run later.
    Snooze,
    /// Given back.
    Release,
    /// The lease was lost: nobody will hear how it ended.
    Abandoned,
}

/// What can be down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// The document store.
    Store,
    /// The queue service.
    Queue,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Store => "store",
            Self::Queue => "queue",
        })
    }
}

type Listener = dyn Fn(&Event<'_>) + Send + Sync;

/// Where decisions are told. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Events {
    listeners: Vec<Arc<Listener>>,
}

impl Events {
    pub(crate) fn add(&mut self, listener: impl Fn(&Event<'_>) + Send + Sync + 'static) {
        self.listeners.push(Arc::new(listener));
    }

    pub(crate) fn emit(&self, event: Event<'_>) {
        // Who listens may panic: that must not take a slot or a loop down.
        let _ = catch_unwind(AssertUnwindSafe(|| trace(&event)));
        for listener in &self.listeners {
            let _ = catch_unwind(AssertUnwindSafe(|| listener(&event)));
        }
    }

    /// The span of one attempt; everything its handler logs is inside.
    pub(crate) fn span(job: &ClaimedJob) -> Span {
        let span = || {
            tracing::info_span!(
                target: "bgjob",
                "job",
                id = %job.id,
                name = &*job.spec.name,
                queue = &*job.spec.queue,
                attempt = job.errors + 1,
                fence = job.fence,
            )
        };
        catch_unwind(AssertUnwindSafe(span)).unwrap_or_else(|_| Span::none())
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Events({} listeners)", self.listeners.len())
    }
}

/// Tells `tracing`. One line an event; the level says how much it matters to whoever runs it.
fn trace(event: &Event<'_>) {
    if !tracing::enabled!(target: "bgjob", Level::ERROR) {
        return;
    }
    match event {
        Event::Started { jobs } => {
            let (count, jobs) = (jobs.len(), jobs.join(", "));
            info!(target: "bgjob", count, jobs, "dispatcher started");
        }
        Event::PanicsAbort => {
            warn!(target: "bgjob", "panic = \"abort\": a panic in a job ends the process");
        }
        Event::Created { jobs } => debug!(target: "bgjob", jobs, "jobs stored"),
        Event::PushFailed { hints, error } => {
            warn!(target: "bgjob", hints, %error, "hints not pushed; the sweeper will give them");
        }
        Event::Claimed { jobs, via } => debug!(target: "bgjob", jobs, ?via, "jobs claimed"),
        Event::HintsDropped { hints } => debug!(target: "bgjob", hints, "hints dropped"),
        Event::Rehinted { hints } => debug!(target: "bgjob", hints, "jobs hinted at again"),
        Event::Purged { jobs } => debug!(target: "bgjob", jobs, "old jobs purged"),
        Event::CallPanicked { part } => error!(target: "bgjob", %part, "a call panicked"),
        Event::LoopFailed { name } => error!(target: "bgjob", name, "a loop panicked; restarting"),
        Event::Draining { running } => info!(target: "bgjob", running, "draining"),
        Event::Stopped {
            drained,
            released,
            unknown,
        } => {
            info!(target: "bgjob", drained, released, unknown, "dispatcher stopped");
        }
        Event::Revoked { id, state } => {
            warn!(target: "bgjob", %id, %state, "job revoked: its worker no longer renews");
        }
        Event::Unreadable { id, error } => {
            error!(target: "bgjob", %id, %error, "a stored job can't be read");
        }
        Event::Expired { id } => warn!(target: "bgjob", %id, "job expired"),
        Event::UpkeepFailed { step, error } => {
            warn!(target: "bgjob", step, %error, "upkeep failed; trying again");
        }
        Event::Down { part, error } => error!(target: "bgjob", ?part, %error, "down; trying again"),
        Event::Up { part, after } => info!(target: "bgjob", ?part, ?after, "up again"),
        Event::RuntimeStalled { silent } => {
            error!(target: "bgjob", ?silent, "runtime blocked: mark jobs that block");
        }
        Event::AttemptStarted { .. }
        | Event::AttemptEnded { .. }
        | Event::Recorded { .. }
        | Event::CancelRequested { .. }
        | Event::SlotStuck { .. } => trace_attempt(event),
    }
}

fn trace_attempt(event: &Event<'_>) {
    let name = |job: &ClaimedJob| Arc::clone(&job.spec.name);
    match event {
        Event::AttemptStarted { job } => {
            debug!(target: "bgjob", id = %job.id, name = &*name(job), "job started");
        }
        Event::AttemptEnded { job, verdict, ran } => {
            let (id, name) = (job.id, name(job));
            match verdict {
                Verdict::Error(_) | Verdict::Abort(_) | Verdict::Abandoned => {
                    warn!(target: "bgjob", %id, name = &*name, ?verdict, ?ran, "job ended");
                }
                Verdict::Success | Verdict::Snooze | Verdict::Release => {
                    debug!(target: "bgjob", %id, name = &*name, ?verdict, ?ran, "job ended");
                }
            }
        }
        Event::Recorded {
            job,
            answer: Finished::Applied(JobState::Dead),
            ..
        } => {
            error!(target: "bgjob", id = %job.id, name = &*name(job), "job is dead");
        }
        Event::Recorded {
            job,
            answer,
            repeated,
        } => {
            debug!(target: "bgjob", id = %job.id, ?answer, repeated, "end recorded");
        }
        Event::CancelRequested { job, reason } => {
            let (id, name) = (job.id, name(job));
            info!(target: "bgjob", %id, name = &*name, ?reason, "job asked to end");
        }
        Event::SlotStuck { job } => {
            error!(target: "bgjob", id = %job.id, name = &*name(job), "job can't be stopped");
        }
        _ => {}
    }
}

/// Whether a part works: says once that it is down, and once that it is up again.
#[derive(Debug)]
pub(crate) struct Breaker {
    part: Part,
    events: Events,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    down: Option<Down>,
    worked: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Down {
    since: Instant,
    failures: u32,
}

impl Breaker {
    /// Longest a call to a part may take before it is given up.
    pub(crate) const CALL: Duration = Duration::from_secs(10);
    /// The first wait after a failure.
    const WAIT: Duration = Duration::from_millis(50);

    pub(crate) fn new(part: Part, events: Events) -> Self {
        Self {
            part,
            events,
            state: Mutex::default(),
        }
    }

    /// Notes a failure; answers how long to wait before the next try: 50 ms doubled up to 5 s,
    /// jittered.
    pub(crate) fn failed(&self, error: &Error) -> Duration {
        let failures = {
            let mut state = self.state();
            // A call that was given up began before another one worked: old news.
            let worked = state.worked.is_some_and(|at| at.elapsed() < Self::CALL);
            if worked && state.down.is_none() && error.kind() == ErrorKind::Timeout {
                return Self::WAIT;
            }
            let down = state.down.get_or_insert(Down {
                since: Instant::now(),
                failures: 0,
            });
            down.failures = down.failures.saturating_add(1);
            down.failures
        };
        if failures == 1 {
            self.events.emit(Event::Down {
                part: self.part,
                error,
            });
        }
        let wait = Self::WAIT * 2_u32.pow(failures.min(8) - 1);
        wait.min(Duration::from_secs(5))
            .mul_f64(0.5 + crate::entropy::unit() / 2.0)
    }

    /// Notes a success.
    pub(crate) fn worked(&self) {
        let down = {
            let mut state = self.state();
            state.worked = Some(Instant::now());
            state.down.take()
        };
        if let Some(down) = down {
            self.events.emit(Event::Up {
                part: self.part,
                after: down.since.elapsed(),
            });
        }
    }

    /// How long it has been down.
    pub(crate) fn down_for(&self) -> Option<Duration> {
        self.state().down.map(|down| down.since.elapsed())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
