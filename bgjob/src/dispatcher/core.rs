//! [`Core`]: what all loops of one dispatcher share.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{
            AtomicBool, AtomicU8, AtomicU64, AtomicUsize,
            Ordering::{Relaxed, SeqCst},
        },
    },
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use super::{
    clocks::Renewals, deaths::Deaths, ends::Ends, grants::Grants, hand::Hand,
    middleware::Middleware, unreadable::Unreadable,
};
use crate::{
    Error, ErrorKind, JobManager, JobQueue, JobStore, Owner, Registry, Result,
    calls::{contained, within},
    entropy,
    events::{Breaker, Event, Events, Part, Via},
    extract::{HeldJob, Services},
    job::{ClaimedJob, End, Grant, Serves, Token},
    lock::Locked,
    registry::JobDescriptor,
    store::Want,
};

/// A dispatcher's settings; the builder's methods explain them.
#[derive(Debug, Clone)]
pub(super) struct Config {
    pub(super) lease: Duration,
    pub(super) drain: Duration,
    pub(super) cancel: Duration,
    pub(super) sweep: Duration,
    /// The lease loop runs on a thread of its own. Off only where time is simulated.
    pub(super) lease_thread: bool,
    /// Retries wait a random part of their backoff. Off only in tests that control the time.
    pub(super) jitter: bool,
    /// A success is committed with the handler's own transaction. Off only in tests that store
    /// nothing.
    pub(super) commit: bool,
}

impl Config {
    /// How long a handler may run on after a time-out or a user's cancel before it is dropped.
    pub(super) const GRACE: Duration = Duration::from_secs(5);
    /// The longest a call to a store or queue may take before it counts as failed.
    pub(super) const CALL: Duration = Breaker::CALL;

    /// The random factor for the jitter of a backoff; 1 keeps all of it.
    pub(super) fn jitter(&self) -> f64 {
        if self.jitter { entropy::unit() } else { 1.0 }
    }

    /// The age at which a lease is renewed.
    pub(super) fn renew_at(&self) -> Duration {
        self.lease / 3
    }

    /// The age at which a job without a good renewal is given up, well before its lease can end.
    pub(super) fn fence_at(&self) -> Duration {
        self.lease - (self.lease / 10).max(Duration::from_secs(2))
    }
}

/// How far the shutdown has come. The phase only moves forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// Claims and runs.
    Running,
    /// Claims no more; running jobs may end by themselves.
    Draining,
    /// Running jobs are asked to end.
    Cancelling,
    /// Jobs that still run are dropped and given back.
    Releasing,
    /// All ends are recorded or given up: the loops end, the lease thread last.
    Stopped,
}

impl Phase {
    /// All phases in order; the index is the value of `Core::phase`.
    const ALL: [Self; 5] = [
        Self::Running,
        Self::Draining,
        Self::Cancelling,
        Self::Releasing,
        Self::Stopped,
    ];
}

/// Shared by all loops, slots and handles; lives until the last of them is dropped. The fields
/// `manager` to `hands`, `deaths` and `worker` are set when it is built and never replaced.
pub(super) struct Core {
    pub(super) manager: JobManager,
    pub(super) store: Arc<dyn JobStore>,
    pub(super) queue: Option<Arc<dyn JobQueue>>,
    pub(super) registry: Registry,
    pub(super) serves: Arc<BTreeMap<Arc<str>, u32>>,
    pub(super) services: Arc<Services>,
    /// By queue; middleware for all queues is in each entry.
    pub(super) middleware: BTreeMap<Arc<str>, Vec<Arc<dyn Middleware>>>,
    pub(super) events: Events,
    pub(super) config: Config,
    pub(super) owner: Owner,
    pub(super) hands: Vec<Arc<Hand>>,
    /// The held jobs: added by `take_in`, renewed by the lease loop, removed by `release`.
    pub(super) grants: Grants,
    /// Ends to record: added by `end`, taken by the fetch loop (by `gone` without a runtime).
    pub(super) ends: Ends,
    /// Wakes the fetch loop: an end to record, room in a hand, a new phase.
    pub(super) wake: Notify,
    /// Wakes the receive loop: room in a hand, a new phase.
    pub(super) room: Notify,
    /// The queue gave no hints lately: set and cleared by the receive loop, read by the fetch loop.
    pub(super) hints_dry: AtomicBool,
    /// The current [`Phase`]: raised by `enter`, read by all loops and handles.
    phase: AtomicU8,
    /// Wakes `reached`. Unlike a `watch` it wakes in order, so that a run can be repeated.
    phases: Notify,
    /// Whether the store answers; the loops that call it report here. Same for the queue.
    pub(super) store_state: Breaker,
    pub(super) queue_state: Breaker,
    pub(super) tally: Tally,
    pub(super) unreadable: Unreadable,
    pub(super) beats: Beats,
    /// Claims sent or in doubt, whose jobs are not taken in yet; counted by [`OpenClaim`].
    open_claims: AtomicUsize,
    pub(super) renewals: Renewals,
    /// The fetch loop should ask the store at once: set by `look_again`, cleared by that loop.
    pub(super) look: AtomicBool,
    /// A claim that asks for a suspect is unanswered; set and cleared by [`SuspectTurn`].
    suspect_asked: AtomicBool,
    /// When `wants_suspect` last asked for a suspect although no slot was free.
    last_suspect: Mutex<Option<Instant>>,
    pub(super) deaths: Deaths,
    /// The dispatcher's name, for people.
    pub(super) worker: Arc<str>,
    /// Names of jobs that `slowed` has slowed down; never more names than the registry has.
    slow_names: Mutex<BTreeSet<Arc<str>>>,
}

/// Counters: raised where jobs end, read by `health` and the shutdown report; `trip` by `wants_of`.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) drained: AtomicUsize,
    pub(super) released: AtomicUsize,
    pub(super) stuck: AtomicUsize,
    pub(super) slowed: AtomicUsize,
    /// Moving average of the fetch loop's store calls, in nanoseconds. 0: no call was answered yet.
    trip: AtomicU64,
}

impl Tally {
    pub(super) fn trip(&self) -> Duration {
        Duration::from_nanos(self.trip.load(Relaxed))
    }

    pub(super) fn note_trip(&self, took: Duration) {
        let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX / 16);
        let old = self.trip.load(Relaxed);
        self.trip.store(
            if old == 0 {
                took
            } else {
                old - old / 4 + took / 4
            },
            Relaxed,
        );
    }
}

/// When each loop last came round, in milliseconds since `start`: set by each, read by `health`.
#[derive(Debug)]
pub(super) struct Beats {
    start: Instant,
    pub(super) fetch: AtomicU64,
    pub(super) lease: AtomicU64,
    pub(super) maintain: AtomicU64,
    /// A bare timer on the runtime that runs the jobs; the lease thread checks it too.
    pub(super) pulse: AtomicU64,
}

impl Beats {
    pub(super) fn new() -> Self {
        Self {
            start: Instant::now(),
            fetch: AtomicU64::new(0),
            lease: AtomicU64::new(0),
            maintain: AtomicU64::new(0),
            pulse: AtomicU64::new(0),
        }
    }

    pub(super) fn beat(&self, which: &AtomicU64) {
        which.store(self.start.elapsed().as_millis() as u64, Relaxed);
    }

    pub(super) fn age(&self, which: &AtomicU64) -> Duration {
        self.start
            .elapsed()
            .saturating_sub(Duration::from_millis(which.load(Relaxed)))
    }
}

impl Core {
    #[allow(clippy::too_many_arguments, reason = "called once, by the builder")]
    pub(super) fn new(
        manager: JobManager,
        registry: Registry,
        serves: BTreeMap<Arc<str>, u32>,
        services: Services,
        middleware: BTreeMap<Arc<str>, Vec<Arc<dyn Middleware>>>,
        events: Events,
        config: Config,
        hands: Vec<Arc<Hand>>,
        deaths: Deaths,
        worker: Arc<str>,
    ) -> Self {
        Self {
            store: Arc::clone(&manager.inner.store),
            queue: manager.inner.queue.clone(),
            manager,
            registry,
            serves: Arc::new(serves),
            services: Arc::new(services),
            middleware,
            store_state: Breaker::new(Part::Store, events.clone()),
            queue_state: Breaker::new(Part::Queue, events.clone()),
            events,
            config,
            owner: Owner::random(),
            hands,
            grants: Grants::default(),
            ends: Ends::default(),
            wake: Notify::new(),
            room: Notify::new(),
            hints_dry: AtomicBool::new(false),
            phase: AtomicU8::new(Phase::Running as u8),
            phases: Notify::new(),
            tally: Tally::default(),
            unreadable: Unreadable::default(),
            beats: Beats::new(),
            open_claims: AtomicUsize::new(0),
            renewals: Renewals::default(),
            look: AtomicBool::new(false),
            suspect_asked: AtomicBool::new(false),
            last_suspect: Mutex::new(None),
            deaths,
            worker,
            slow_names: Mutex::default(),
        }
    }

    /// Checks that every service is there that the served jobs among these need.
    pub(super) fn check_needs(&self, of: impl Fn(&JobDescriptor) -> bool) -> Result<()> {
        let served = |job: &JobDescriptor| self.serves.contains_key(job.name()) && of(job);
        match self.registry.missing(&self.services, served) {
            missing if missing.is_empty() => Ok(()),
            missing => Err(Error::invalid(missing.join("; "))),
        }
    }

    pub(super) fn phase(&self) -> Phase {
        Phase::ALL[usize::from(self.phase.load(SeqCst))]
    }

    pub(super) fn slow_names(&self) -> MutexGuard<'_, BTreeSet<Arc<str>>> {
        self.slow_names.locked()
    }

    /// Moves on to a phase; never moves back.
    pub(super) fn enter(&self, phase: Phase) {
        self.phase.fetch_max(phase as u8, SeqCst);
        self.phases.notify_waiters();
        self.wake.notify_one();
        self.room.notify_one();
    }

    /// Returns once the dispatcher has reached this phase.
    pub(super) async fn reached(&self, phase: Phase) {
        loop {
            // Created before the check: a phase entered after this line wakes `next`.
            let next = self.phases.notified();
            if self.phase() >= phase {
                return;
            }
            next.await;
        }
    }

    /// Whether a claim has begun whose jobs are not taken in yet.
    pub(super) fn is_claiming(&self) -> bool {
        self.open_claims.load(SeqCst) > 0
    }

    /// The grant of a new claim call, with a fresh token.
    pub(super) fn grant(&self) -> Grant {
        Grant::new(Token::random(), self.owner, self.config.lease)
    }

    /// What this dispatcher can run, and whether a suspect is wanted: one at a time, into a free
    /// slot. If slots are never free for long because jobs are short, one suspect a second is taken
    /// ahead of the line. The caller keeps the turn until it has taken the answer in, because two
    /// loops claim.
    pub(super) fn serves(core: &Arc<Self>) -> (Serves, Option<SuspectTurn>) {
        let turn = SuspectTurn::take(core).filter(|_| core.wants_suspect());
        let serves = Serves::new(Arc::clone(&core.serves)).suspect(turn.is_some());
        (serves, turn)
    }

    fn wants_suspect(&self) -> bool {
        if self.grants.suspects() > 0 {
            return false;
        }
        if self.hands.iter().any(|hand| hand.has_room()) {
            return true;
        }
        let mut last = self.last_suspect.locked();
        let due = last.is_none_or(|at| at.elapsed() >= Duration::from_secs(1));
        let wanted = due && self.hands.iter().any(|hand| hand.is_quick());
        if wanted {
            *last = Some(Instant::now());
        }
        wanted
    }

    /// How many jobs of each queue are wanted now. `again` includes dry queues.
    pub(super) fn wants(&self, again: bool) -> Vec<Want> {
        self.wants_of(|hand| again || !hand.dry.load(Relaxed))
    }

    /// How many jobs of each hungry queue are wanted now; queues that want none are left out.
    pub(super) fn wants_of(&self, hungry: impl Fn(&Hand) -> bool) -> Vec<Want> {
        let trip = self.tally.trip();
        let hungry = self.hands.iter().filter(|hand| hungry(hand));
        hungry
            .map(|hand| Want::new(Arc::clone(&hand.queue), hand.want(trip)))
            .filter(|want| want.max > 0)
            .collect()
    }

    pub(super) fn hand(&self, queue: &str) -> Option<&Arc<Hand>> {
        self.hands.iter().find(|hand| *hand.queue == *queue)
    }

    /// Takes in the jobs of a claim and hands them to the slots.
    pub(super) fn take_in(&self, jobs: Vec<ClaimedJob>, claimed: Instant, via: Via) {
        if jobs.is_empty() {
            return;
        }
        self.events.emit(Event::Claimed {
            jobs: jobs.len(),
            via,
        });
        let held = self.grants.add(jobs, &self.services, claimed);
        let mut by_queue: Vec<(&Arc<Hand>, Vec<Arc<HeldJob>>)> = Vec::with_capacity(1);
        let mut late = Vec::new();
        for job in held {
            match self.hand(&job.job.spec.queue) {
                Some(hand) => match by_queue.iter_mut().find(|(h, _)| Arc::ptr_eq(h, hand)) {
                    Some((_, jobs)) => jobs.push(job),
                    None => by_queue.push((hand, vec![job])),
                },
                None => late.push(job),
            }
        }
        for (hand, jobs) in by_queue {
            late.append(&mut hand.add(jobs));
        }
        self.give_back(late);
    }

    /// Stops holding a job. After a suspect the next one may come, so the store is asked at once.
    pub(super) fn release(&self, held: &HeldJob) {
        self.grants.release(held);
        if held.job.is_suspect() {
            self.look_again();
        }
    }

    /// Has the fetch loop ask the store at once, even for queues that were dry.
    pub(super) fn look_again(&self) {
        self.look.store(true, Relaxed);
        self.wake.notify_one();
    }

    /// Gives jobs back, except those whose end is already decided.
    pub(super) fn give_back(&self, jobs: Vec<Arc<HeldJob>>) {
        for job in jobs {
            if job.decide() {
                self.end(job, End::Release);
            }
        }
    }

    /// Queues an end to be recorded. Only for the caller that decided it; see [`HeldJob::decide`].
    pub(super) fn end(&self, held: Arc<HeldJob>, end: End) {
        if self.ends.push(held, end) {
            self.wake.notify_one();
        }
    }

    /// Like `end`, for a handler that can't be stopped: its slot stays taken.
    pub(super) fn stuck(&self, held: &Arc<HeldJob>, end: End) {
        self.tally.stuck.fetch_add(1, Relaxed);
        self.events.emit(Event::SlotStuck { job: &held.job });
        self.end(Arc::clone(held), end);
    }
}

/// Counts a claim from before it is sent until its jobs are taken in. Begin it before reading the
/// phase: the shutdown sets the phase first and then looks for open claims.
pub(super) struct OpenClaim(Arc<Core>);

impl OpenClaim {
    pub(super) fn begin(core: &Arc<Core>) -> Self {
        core.open_claims.fetch_add(1, SeqCst);
        Self(Arc::clone(core))
    }
}

impl Drop for OpenClaim {
    fn drop(&mut self) {
        self.0.open_claims.fetch_sub(1, SeqCst);
    }
}

/// The turn to ask for a suspect; one loop has it at a time.
pub(super) struct SuspectTurn(Arc<Core>);

impl SuspectTurn {
    fn take(core: &Arc<Core>) -> Option<Self> {
        let free = !core.suspect_asked.swap(true, SeqCst);
        free.then(|| Self(Arc::clone(core)))
    }
}

impl Drop for SuspectTurn {
    fn drop(&mut self) {
        self.0.suspect_asked.store(false, SeqCst);
    }
}

impl Core {
    /// A call to the store with a time limit; a call that is not answered in time may have worked.
    pub(super) async fn store_call<T, F>(&self, call: impl FnOnce() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        bounded(contained(&self.events, Part::Store, call)).await
    }

    /// Like `store_call`, for the queue.
    pub(super) async fn queue_call<T, F>(&self, call: impl FnOnce() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        bounded(contained(&self.events, Part::Queue, call)).await
    }
}

async fn bounded<T>(call: impl Future<Output = Result<T>>) -> Result<T> {
    within(Config::CALL, call).await.unwrap_or_else(|| {
        let text = format!("no answer within {:?}", Config::CALL);
        Err(Error::new(ErrorKind::Timeout, text))
    })
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core")
            .field("owner", &self.owner)
            .field("phase", &self.phase())
            .field("held", &self.grants.held())
            .finish_non_exhaustive()
    }
}
