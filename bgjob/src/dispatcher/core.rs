//! [`Core`]: what all loops of one dispatcher share.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
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
    extract::{Held, Services},
    job::{ClaimedJob, End, Grant, Serves, Token},
    registry::JobDescriptor,
    store::Want,
};

/// How a dispatcher behaves; see the builder for what each means.
#[derive(Debug, Clone)]
pub(super) struct Config {
    pub(super) lease: Duration,
    pub(super) drain: Duration,
    pub(super) cancel: Duration,
    pub(super) sweep: Duration,
    /// The lease loop runs on a thread of its own. Off only where time is simulated.
    pub(super) lease_thread: bool,
    /// Retries wait a random part of their backoff. Off only where a test tells the time.
    pub(super) jitter: bool,
    /// A success is committed with the handler's own transaction. Off only where nothing is stored.
    pub(super) commit: bool,
}

impl Config {
    /// From a time-out or a user's cancel until the handler is dropped.
    pub(super) const GRACE: Duration = Duration::from_secs(5);
    /// Longest a call to a store or queue may take before it is repeated.
    pub(super) const CALL: Duration = Breaker::CALL;

    /// The random number a backoff is jittered with; 1 is all of it.
    pub(super) fn jitter(&self) -> f64 {
        if self.jitter { entropy::unit() } else { 1.0 }
    }

    /// The age at which a lease is renewed.
    pub(super) fn renew_at(&self) -> Duration {
        self.lease / 3
    }

    /// The age at which an unrenewed job is given up, well before its lease can end.
    pub(super) fn fence_at(&self) -> Duration {
        self.lease - (self.lease / 10).max(Duration::from_secs(2))
    }
}

/// Where a dispatcher stands on its way down. It only goes forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// Claims and runs.
    Running,
    /// Claims no more; what runs may end by itself.
    Draining,
    /// What runs is asked to end.
    Cancelling,
    /// What still runs is dropped and given back.
    Releasing,
    /// All ends are recorded or given up: the loops end, the lease thread last.
    Stopped,
}

impl Phase {
    /// In their order.
    const ALL: [Self; 5] = [
        Self::Running,
        Self::Draining,
        Self::Cancelling,
        Self::Releasing,
        Self::Stopped,
    ];
}

pub(super) struct Core {
    pub(super) manager: JobManager,
    pub(super) store: Arc<dyn JobStore>,
    pub(super) queue: Option<Arc<dyn JobQueue>>,
    pub(super) registry: Registry,
    pub(super) serves: Arc<BTreeMap<Arc<str>, u32>>,
    pub(super) services: Arc<Services>,
    /// By queue; what wraps jobs of any queue is in each.
    pub(super) middleware: BTreeMap<Arc<str>, Vec<Arc<dyn Middleware>>>,
    pub(super) events: Events,
    pub(super) config: Config,
    pub(super) owner: Owner,
    pub(super) hands: Vec<Arc<Hand>>,
    pub(super) grants: Grants,
    pub(super) ends: Ends,
    /// Wakes the fetch loop: an end to record, room in a hand, a new phase.
    pub(super) wake: Notify,
    /// Wakes the receive loop: room in a hand, a new phase.
    pub(super) room: Notify,
    /// The queue has nothing, as far as is known.
    pub(super) hints_dry: AtomicBool,
    phase: AtomicU8,
    /// Tells of a new phase. Unlike a `watch` it wakes in order, so that a run can be repeated.
    phases: Notify,
    pub(super) store_state: Breaker,
    pub(super) queue_state: Breaker,
    pub(super) tally: Tally,
    pub(super) unreadable: Unreadable,
    pub(super) beats: Beats,
    /// Claims on their way, or in doubt: what they give is held.
    open_claims: AtomicUsize,
    pub(super) renewals: Renewals,
    /// The fetch loop is to look into the store at once.
    pub(super) look: AtomicBool,
    /// A loop has asked for a suspect and was not answered yet.
    suspect_asked: AtomicBool,
    /// When a suspect was last asked for although no slot was free.
    last_suspect: Mutex<Option<Instant>>,
    pub(super) deaths: Deaths,
    /// Its name, for people.
    pub(super) worker: Arc<str>,
    /// Names of jobs that were slowed down. It has no more of them than the registry.
    slow_names: Mutex<BTreeSet<Arc<str>>>,
}

/// What is counted for health and the final word.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) drained: AtomicUsize,
    pub(super) released: AtomicUsize,
    pub(super) stuck: AtomicUsize,
    pub(super) slowed: AtomicUsize,
    /// Moving average of a store call's time, in nanoseconds.
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

/// When each loop last came round: the watchdog's view, in milliseconds since the start.
#[derive(Debug)]
pub(super) struct Beats {
    start: Instant,
    pub(super) fetch: AtomicU64,
    pub(super) lease: AtomicU64,
    pub(super) maintain: AtomicU64,
    /// A bare timer on the runtime that runs the jobs.
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

    /// Checks that every service is there that the served ones of these jobs need.
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
        self.slow_names
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Goes on to a phase, never back.
    pub(super) fn enter(&self, phase: Phase) {
        self.phase.fetch_max(phase as u8, SeqCst);
        self.phases.notify_waiters();
        self.wake.notify_one();
        self.room.notify_one();
    }

    /// Returns once the dispatcher has come as far as this phase.
    pub(super) async fn reached(&self, phase: Phase) {
        loop {
            // What is entered from here on wakes it.
            let next = self.phases.notified();
            if self.phase() >= phase {
                return;
            }
            next.await;
        }
    }

    /// Whether a claim has begun that is not taken in yet.
    pub(super) fn is_claiming(&self) -> bool {
        self.open_claims.load(SeqCst) > 0
    }

    /// A claim call's grant, with a token of its own.
    pub(super) fn grant(&self) -> Grant {
        let (owner, lease) = (self.owner, self.config.lease);
        Grant {
            token: Token::random(),
            owner,
            lease,
            repeat: false,
        }
    }

    /// What this dispatcher can run, and whether a suspect is wanted: one at a time, into a slot
    /// that is free. Where slots are never free for long because jobs are short, one a second is
    /// taken ahead of the line.
    ///
    /// With a suspect comes the turn to ask for it, kept until it is taken in: two loops claim.
    pub(super) fn serves(core: &Arc<Self>) -> (Serves, Option<SuspectTurn>) {
        let turn = SuspectTurn::take(core).filter(|_| core.wants_suspect());
        let serves = Serves {
            jobs: Arc::clone(&core.serves),
            suspect: turn.is_some(),
        };
        (serves, turn)
    }

    fn wants_suspect(&self) -> bool {
        if self.grants.suspects() > 0 {
            return false;
        }
        if self.hands.iter().any(|hand| hand.has_room()) {
            return true;
        }
        let mut last = self
            .last_suspect
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let due = last.is_none_or(|at| at.elapsed() >= Duration::from_secs(1));
        let wanted = due && self.hands.iter().any(|hand| hand.is_quick());
        if wanted {
            *last = Some(Instant::now());
        }
        wanted
    }

    /// How many jobs of which queue are wanted now. `again` asks dry queues too.
    pub(super) fn wants(&self, again: bool) -> Vec<Want> {
        self.wants_of(|hand| again || !hand.dry.load(Relaxed))
    }

    /// How many jobs are wanted of these queues now.
    pub(super) fn wants_of(&self, hungry: impl Fn(&Hand) -> bool) -> Vec<Want> {
        let trip = self.tally.trip();
        let hungry = self.hands.iter().filter(|hand| hungry(hand));
        hungry
            .map(|hand| Want {
                queue: Arc::clone(&hand.queue),
                max: hand.want(trip),
            })
            .filter(|want| want.max > 0)
            .collect()
    }

    pub(super) fn hand(&self, queue: &str) -> Option<&Arc<Hand>> {
        self.hands.iter().find(|hand| *hand.queue == *queue)
    }

    /// Takes in what a claim gave and hands it to the slots.
    pub(super) fn take_in(&self, jobs: Vec<ClaimedJob>, claimed: Instant, via: Via) {
        if jobs.is_empty() {
            return;
        }
        self.events.emit(Event::Claimed {
            jobs: jobs.len(),
            via,
        });
        let held = self.grants.add(jobs, &self.services, claimed);
        let mut by_queue: Vec<(&Arc<Hand>, Vec<Arc<Held>>)> = Vec::with_capacity(1);
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

    /// Holds a job no more. After a suspect it is the next one's turn, so the store is looked into.
    pub(super) fn release(&self, held: &Held) {
        self.grants.release(held);
        if held.job.is_suspect() {
            self.look_again();
        }
    }

    /// Has the fetch loop look into the store, whatever is known of it.
    pub(super) fn look_again(&self) {
        self.look.store(true, Relaxed);
        self.wake.notify_one();
    }

    /// Gives jobs back that were not started.
    pub(super) fn give_back(&self, jobs: Vec<Arc<Held>>) {
        for job in jobs {
            if job.decide() {
                self.end(job, End::Release);
            }
        }
    }

    /// Queues an end to be recorded. Only for who decided it; see [`Held::decide`].
    pub(super) fn end(&self, held: Arc<Held>, end: End) {
        if self.ends.push(held, end) {
            self.wake.notify_one();
        }
    }

    /// The same for a handler that can't be stopped: its slot stays taken.
    pub(super) fn stuck(&self, held: &Arc<Held>, end: End) {
        self.tally.stuck.fetch_add(1, Relaxed);
        self.events.emit(Event::SlotStuck { job: &held.job });
        self.end(Arc::clone(held), end);
    }
}

/// A claim from before it is sent until what it gave is taken in. It is to begin before the phase
/// is looked at: who leads the way down looks at the claims once the phase is set.
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

/// The turn to ask for a suspect: one loop has it at a time.
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
    /// A call to the store with an end: what is not answered in time may still have happened.
    pub(super) async fn store_call<T, F>(&self, call: impl FnOnce() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        bounded(contained(&self.events, Part::Store, call)).await
    }

    /// The same to the queue.
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
