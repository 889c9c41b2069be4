//! [`DispatcherBuilder`]: what a dispatcher serves, and how.

use std::{
    any::{Any, TypeId},
    collections::{BTreeMap, BTreeSet},
    future::Future,
    sync::{Arc, LazyLock},
    thread,
    time::Duration,
};

use tokio::{sync::watch, task::JoinSet};

use super::{
    cancels,
    config::Config,
    core::{Core, Parts},
    deaths::{self, Deaths},
    fetch,
    hand::Hand,
    handle::{DispatcherHandle, ShutdownReport},
    lease, maintain,
    middleware::Middleware,
    receive,
    served::Served,
    shutdown::{keep, lead},
    signals::Signals,
    slot::slot,
    worker,
};
use crate::{
    Error, JobManager, Registry, Result,
    events::{Event, Events},
    extract::Services,
    job::{check_queue, check_span},
    registry::JobDescriptor,
    task,
};

/// The most slots one queue can have.
const SLOTS_MAX: usize = 10_000;

/// The shortest interval between sweeps; with a shorter one a dispatcher would do little else.
const SWEEP_LEAST: Duration = Duration::from_millis(10);

/// Middleware and the queue it wraps. `None`: it wraps all queues.
type Wrap = (Option<Arc<str>>, Arc<dyn Middleware>);

/// The error text for a dispatcher that serves no job and so would wait for ever.
const NOTHING: &str = "there is no job to serve: register one; a queue of `serve_queues` that is \
                       no job's own needs `serve_jobs` too";

/// A dispatcher about to start. See [`JobDispatcher::builder`](super::JobDispatcher::builder).
#[must_use = "nothing runs until `start`, `run` or `run_until` is called"]
pub struct DispatcherBuilder {
    manager: JobManager,
    registry: Option<Registry>,
    expected: Vec<String>,
    queues: Option<Vec<Arc<str>>>,
    jobs: Option<Vec<String>>,
    slots: BTreeMap<Arc<str>, usize>,
    default_slots: usize,
    services: Services,
    middleware: Vec<Wrap>,
    pub(super) events: Events,
    pub(super) on_dead: Vec<deaths::Hook>,
    pub(super) worker: Arc<str>,
    config: Config,
}

/// The number of cores, asked for once: the call reads several files, and a test may start
/// thousands of dispatchers.
static CORES: LazyLock<usize> =
    LazyLock::new(|| thread::available_parallelism().map_or(1, usize::from));

impl DispatcherBuilder {
    pub(super) fn new(manager: JobManager) -> Self {
        Self {
            manager,
            registry: None,
            expected: Vec::new(),
            queues: None,
            jobs: None,
            slots: BTreeMap::new(),
            default_slots: (2 * *CORES).max(10),
            services: Services::new(),
            middleware: Vec::new(),
            events: Events::default(),
            on_dead: Vec::new(),
            worker: worker::default(),
            config: Config {
                lease: Duration::from_secs(30),
                drain: Duration::from_secs(20),
                cancel: Duration::from_secs(3),
                sweep: Duration::from_secs(4),
                lease_thread: !task::is_simulated(),
                jitter: true,
                commit: true,
            },
        }
    }

    /// Runs the jobs of this registry instead of those linked into the program.
    pub fn registry(mut self, registry: Registry) -> Self {
        self.registry = Some(registry);
        self
    }

    /// Refuses to start if one of these jobs is not registered. This catches a crate of jobs that
    /// the program does not name and so does not link.
    pub fn expect_jobs(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.expected.extend(names.into_iter().map(Into::into));
        self
    }

    /// Adds a service that jobs take as [`State<T>`](crate::State). There is one service per type:
    /// the last one given counts.
    pub fn state<T: Send + Sync + 'static>(mut self, service: T) -> Self {
        let service: Arc<dyn Any + Send + Sync> = Arc::new(service);
        self.services.insert(TypeId::of::<T>(), service);
        self
    }

    /// Adds a service that the rest of the program uses too; see [`state`](Self::state).
    pub fn shared_state<T: Send + Sync + 'static>(mut self, service: Arc<T>) -> Self {
        self.services.insert(TypeId::of::<T>(), service);
        self
    }

    /// Serves only these queues and the jobs whose own queue is among them: a dedicated worker
    /// that needs only the services of those jobs. By default the queues of all registered jobs are
    /// served. A queue that is no job's own, to which jobs are only sent at the enqueue, has to be
    /// named here or with [`slots`](Self::slots).
    pub fn serve_queues(mut self, queues: impl IntoIterator<Item = impl Into<Arc<str>>>) -> Self {
        self.queues = Some(queues.into_iter().map(Into::into).collect());
        self
    }

    /// Runs only these jobs, in whichever of the served queues they are.
    pub fn serve_jobs(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.jobs = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// Runs at most this many jobs of this queue at a time. The queue is served even if no
    /// registered job names it. 1 to 10,000.
    #[doc(alias = "concurrency")]
    #[doc(alias = "workers")]
    #[doc(alias = "threads")]
    pub fn slots(mut self, queue: impl Into<Arc<str>>, slots: usize) -> Self {
        self.slots.insert(queue.into(), slots);
        self
    }

    /// Runs at most this many jobs at a time of each queue that [`slots`](Self::slots) does not
    /// name. By default twice the number of cores, and at least 10. 1 to 10,000.
    #[doc(alias = "concurrency")]
    #[doc(alias = "workers")]
    #[doc(alias = "threads")]
    pub fn default_slots(mut self, slots: usize) -> Self {
        self.default_slots = slots;
        self
    }

    /// Wraps every job. The middleware added first is outermost.
    pub fn middleware(mut self, middleware: impl Middleware) -> Self {
        self.middleware.push((None, Arc::new(middleware)));
        self
    }

    /// Wraps the jobs of one queue.
    pub fn middleware_for(
        mut self,
        queue: impl Into<Arc<str>>,
        middleware: impl Middleware,
    ) -> Self {
        self.middleware
            .push((Some(queue.into()), Arc::new(middleware)));
        self
    }

    /// How long a claimed job is safe from other workers without a renewal: 30 s by default, 5 s to
    /// an hour. A shorter lease finds dead workers sooner and costs more renewals: a lease is
    /// renewed after each third of it. Progress is stored at each renewal. A cancel by another
    /// process is noticed then too, if the store does not wake its waiters.
    #[doc(alias = "visibility_timeout")]
    #[doc(alias = "heartbeat")]
    pub fn lease(mut self, lease: Duration) -> Self {
        self.config.lease = lease;
        self
    }

    /// At shutdown: how long running jobs may go on undisturbed. 20 s by default.
    #[doc(alias = "shutdown_timeout")]
    #[doc(alias = "grace_period")]
    pub fn drain(mut self, drain: Duration) -> Self {
        self.config.drain = drain;
        self
    }

    /// At shutdown, after the drain: how long jobs have to end once they are asked to. 3 s by
    /// default.
    pub fn cancel_within(mut self, cancel: Duration) -> Self {
        self.config.cancel = cancel;
        self
    }

    /// How often the dispatcher looks for jobs that other workers left behind: every 4 s by
    /// default, which is also the maximum. The minimum is 10 ms, for tests.
    pub fn sweep_every(mut self, sweep: Duration) -> Self {
        self.config.sweep = sweep;
        self
    }

    /// Renews leases from a task instead of the lease thread: for tests that pause the clock.
    #[cfg(feature = "testing")]
    pub fn without_lease_thread(mut self) -> Self {
        self.config.lease_thread = false;
        self
    }

    /// Retries wait their whole backoff instead of a random part of it.
    #[cfg(feature = "testing")]
    pub(super) fn without_jitter(mut self) -> Self {
        self.config.jitter = false;
        self
    }

    /// Rolls back what handlers write in a `JobTransaction`, however they end.
    #[cfg(feature = "testing")]
    pub(crate) fn without_commit(mut self) -> Self {
        self.config.commit = false;
        self
    }

    /// Starts the dispatcher in the background, as tasks of this runtime. The dispatcher ends with
    /// the runtime: jobs that have ended are then recorded, jobs that waited or whose handler was
    /// dropped are given back, and a job whose blocking code still runs starts again elsewhere once
    /// its lease has ended, as after a crash.
    ///
    /// # Errors
    /// `InvalidInput` if a setting is out of range, a job is registered twice, an expected job is
    /// not registered, or a served job needs a service that is missing; the error names all missing
    /// services at once.
    pub async fn start(self) -> Result<DispatcherHandle> {
        let core = Arc::new(self.core()?);
        core.served.check_needs(|_| true)?;
        if cfg!(panic = "abort") {
            core.events.emit(Event::PanicsAbort);
        }
        if let Some(queue) = &core.queue {
            let names = core.hands.queues();
            // A queue that is down does not prevent the start: it is tried again for ever.
            if let Err(error) = queue.call(|queue| queue.ensure(&names)).await {
                queue.failed(&error);
            }
        }
        let names: Vec<_> = core.served.registry.iter().map(|job| job.name()).collect();
        core.events.emit(Event::Started {
            jobs: &names,
            worker: &core.worker,
        });
        let mut loops = JoinSet::new();
        task::spawn_in(&mut loops, keep(Arc::clone(&core), "fetch", fetch::run));
        task::spawn_in(&mut loops, keep(Arc::clone(&core), "receive", receive::run));
        task::spawn_in(&mut loops, keep(Arc::clone(&core), "cancels", cancels::run));
        task::spawn_in(&mut loops, keep(Arc::clone(&core), "lease", lease::run));
        task::spawn_in(
            &mut loops,
            keep(Arc::clone(&core), "maintain", maintain::run),
        );
        task::spawn_in(
            &mut loops,
            keep(Arc::clone(&core), "pulse", maintain::pulse),
        );
        if core.deaths.are_heard() {
            task::spawn_in(&mut loops, keep(Arc::clone(&core), "on_dead", deaths::run));
        }
        let mut slots = JoinSet::new();
        for hand in core.hands.iter() {
            for _ in 0..hand.slots {
                task::spawn_in(&mut slots, slot(Arc::clone(&core), Arc::clone(hand)));
            }
        }
        let (say, last_word) = watch::channel(None);
        let lead = lead(Arc::clone(&core), slots, loops);
        task::spawn(async move { say.send_replace(Some(lead.await)) });
        Ok(DispatcherHandle::new(core, last_word))
    }

    /// Starts the dispatcher, runs until a SIGTERM or Ctrl-C, then drains. A second signal hurries
    /// the shutdown. The process does not exit here: the program decides what comes next. It ends
    /// when `main` returns, even if blocking code still runs; such jobs have been given back.
    ///
    /// As soon as no part of bgjob listens for signals, SIGTERM and Ctrl-C end the process at once,
    /// as they do by default, even if another part of the program listens for them through tokio. A
    /// program that goes on after its dispatcher and handles these signals itself uses
    /// [`run_until`](Self::run_until) or [`start`](Self::start), which listen for no signal. On
    /// Windows, Ctrl-C, Ctrl-Break and the closing of the console ask for the shutdown, and stay
    /// ignored afterwards.
    ///
    /// # Errors
    /// As for [`start`](Self::start), and `Internal` if listening for signals fails.
    ///
    /// # Cancel safety
    /// Dropping this future begins the shutdown, which goes on in the background for as long as the
    /// runtime lives.
    pub async fn run(self) -> Result<ShutdownReport> {
        // Before the first claim: a signal that ends the process would count as a crash of each
        // job it holds.
        let signals = Signals::listen()?;
        let running = self.start().await?;
        let _ends = running.ends_with();
        running.until(signals).await
    }

    /// Starts the dispatcher, runs until the future is ready, then drains.
    ///
    /// # Errors
    /// As for [`start`](Self::start).
    ///
    /// # Cancel safety
    /// As for [`run`](Self::run).
    pub async fn run_until(self, end: impl Future) -> Result<ShutdownReport> {
        let running = self.start().await?;
        let _ends = running.ends_with();
        end.await;
        Ok(running.shutdown().await)
    }

    /// Checks everything before anything runs, except for the services.
    pub(super) fn core(self) -> Result<Core> {
        self.check()?;
        let registry = match &self.registry {
            Some(registry) => registry.clone(),
            None => Registry::linked()?,
        };
        registry.check()?;
        registry.check_signatures()?;
        let named = self.jobs.iter().flatten().map(String::as_str);
        let registry =
            registry.expect_jobs(self.expected.iter().map(String::as_str).chain(named))?;
        let wanted = |job: &JobDescriptor| self.wants(job);
        let serves = registry.serves(wanted);
        if serves.is_empty() {
            return Err(Error::invalid(NOTHING));
        }
        let queues: BTreeSet<Arc<str>> = match &self.queues {
            Some(queues) => queues.iter().chain(self.slots.keys()).cloned().collect(),
            None => {
                let own = registry
                    .iter()
                    .filter(|job| wanted(job))
                    .map(|job| job.queue().into());
                own.chain(self.slots.keys().cloned()).collect()
            }
        };
        for queue in &queues {
            check_queue(queue)?;
        }
        let hands = queues
            .iter()
            .map(|queue| {
                let slots = self.slots.get(queue).copied().unwrap_or(self.default_slots);
                Arc::new(Hand::new(Arc::clone(queue), slots))
            })
            .collect();
        let middleware = queues
            .iter()
            .map(|queue| {
                let wraps = |on: &Option<Arc<str>>| on.as_ref().is_none_or(|on| on == queue);
                let chosen = self.middleware.iter().filter(|(on, _)| wraps(on));
                (
                    Arc::clone(queue),
                    chosen.map(|(_, m)| Arc::clone(m)).collect(),
                )
            })
            .collect();
        let mut events = self.events.at(&self.manager.inner.events);
        events.speaks_for(Arc::clone(&self.worker));
        Ok(Core::new(Parts {
            manager: self.manager,
            served: Served {
                registry,
                names: Arc::new(serves),
                services: Arc::new(self.services),
                middleware,
            },
            config: self.config,
            events,
            worker: self.worker,
            hands,
            deaths: Deaths::new(self.on_dead),
        }))
    }

    /// Whether this dispatcher runs the job: `serve_jobs` names the job, or the job's own queue is
    /// served.
    fn wants(&self, job: &JobDescriptor) -> bool {
        match (&self.jobs, &self.queues) {
            (Some(names), _) => job.names().any(|name| names.iter().any(|n| n == name)),
            (None, Some(queues)) => queues.iter().any(|queue| **queue == *job.queue()),
            (None, None) => true,
        }
    }

    fn check(&self) -> Result<()> {
        worker::check(&self.worker)?;
        let counts = self.slots.iter().map(|(queue, slots)| (&**queue, *slots));
        for (queue, slots) in counts.chain([("default_slots", self.default_slots)]) {
            if !(1..=SLOTS_MAX).contains(&slots) {
                let text = format!("`{queue}` has {slots} slots: it takes 1 to {SLOTS_MAX}");
                return Err(Error::invalid(text));
            }
        }
        let Config {
            lease,
            drain,
            cancel,
            sweep,
            ..
        } = self.config;
        if lease < Duration::from_secs(5) || lease > Duration::from_secs(3600) {
            return Err(Error::invalid(format!(
                "`lease` is {lease:?}: it takes 5 s to an hour"
            )));
        }
        if sweep < SWEEP_LEAST || sweep > Duration::from_secs(4) {
            return Err(Error::invalid(format!(
                "`sweep_every` is {sweep:?}: it takes 10 ms to 4 s"
            )));
        }
        check_span("drain", Some(drain))?;
        check_span("cancel_within", Some(cancel))
    }
}

impl std::fmt::Debug for DispatcherBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DispatcherBuilder")
            .field("queues", &self.queues)
            .field("jobs", &self.jobs)
            .field("slots", &self.slots)
            .field("services", &self.services.len())
            .finish_non_exhaustive()
    }
}
