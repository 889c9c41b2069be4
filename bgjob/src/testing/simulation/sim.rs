//! [`Sim`]: a run, as its scenario sees it.

use std::{
    collections::BTreeMap,
    fmt,
    future::Future,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use fastrand::Rng;
use tokio::time::sleep;

use super::{
    below::Below,
    plan::Plan,
    points::Points,
    process::{Host, manager},
    schedule::Schedule,
    truth::Truth,
};
use crate::{
    Clock, DispatcherBuilder, JobManager, JobQueue, JobStore,
    events::Part,
    lock::Locked,
    task::Process,
    testing::{Call, Fault, Faults, TokioClock},
};

/// The longest simulated time that all jobs may take to end.
const PATIENCE: Duration = Duration::from_secs(4 * 3600);
/// Shorter than a lease, so that a grant that the store forgets has not ended since.
const LOST_MOST: Duration = Duration::from_secs(20);

/// One run of a simulation: its processes, its store, its time.
#[derive(Clone)]
pub struct Sim {
    pub(super) world: Arc<World>,
    jobs: JobManager,
}

/// What all processes of a run share.
pub(super) struct World {
    pub(super) plan: Plan,
    below: Below,
    pub(super) truth: Arc<Truth>,
    pub(super) queue: Option<Arc<dyn JobQueue>>,
    pub(super) points: Arc<Points>,
    pub(super) schedule: Arc<Schedule>,
    clock: Arc<dyn Clock>,
    calm: AtomicBool,
    inner: Mutex<WorldState>,
}

#[derive(Default)]
struct WorldState {
    dice: Rng,
    hosts: Vec<Arc<Host>>,
    broken: Vec<String>,
    hits: BTreeMap<(&'static str, Call), u64>,
    /// Planned panics that were not reported yet.
    panics: u64,
}

impl World {
    pub(super) fn new(
        plan: Plan,
        clock: TokioClock,
        documents: bool,
        queue: Option<Arc<dyn JobQueue>>,
    ) -> Arc<Self> {
        let schedule = Arc::new(Schedule::new());
        let clock: Arc<dyn Clock> = Arc::new(clock);
        let off = plan.clocks_off;
        let truth = Arc::new(Truth::new(off));
        let below = if documents {
            Below::documents(Arc::clone(&clock), off, Arc::clone(&truth))
        } else {
            // In half of the runs, ends are recorded beside claims.
            let beside = (plan.seed % 2 == 1).then_some(1);
            Below::jobs(Arc::clone(&clock), beside, Arc::clone(&truth))
        };
        let inner = WorldState {
            dice: Rng::with_seed(plan.seed),
            ..WorldState::default()
        };
        Arc::new(Self {
            below,
            truth,
            queue,
            points: Arc::new(Points::new(plan.deadly.clone(), Arc::clone(&schedule))),
            schedule,
            clock,
            calm: AtomicBool::new(false),
            inner: Mutex::new(inner),
            plan,
        })
    }

    fn lock(&self) -> MutexGuard<'_, WorldState> {
        self.inner.locked()
    }

    /// A new source of randomness, derived from this run's.
    pub(super) fn dice(&self) -> Rng {
        self.lock().dice.fork()
    }

    /// A random time, shorter than this.
    pub(super) fn throw(&self, most: Duration) -> Duration {
        most.mul_f64(self.lock().dice.f64())
    }

    /// A process that has not begun yet.
    pub(super) fn process(&self) -> Arc<Process> {
        let seed = self.lock().dice.u64(..);
        Process::new(seed, Arc::clone(&self.clock))
    }

    /// The store as a process sees it.
    pub(super) fn store(&self, faults: Faults) -> Arc<dyn JobStore> {
        let most = self.plan.clocks_off;
        if !most.is_zero() {
            let off = self.throw(2 * most);
            match off.checked_sub(most) {
                Some(ahead) => faults.clock_ahead(ahead),
                None => faults.clock_behind(most - off),
            }
        }
        self.below.store(faults)
    }

    /// Makes the store forget its last changes, again and again.
    pub(super) async fn roll_back(self: Arc<Self>) {
        let (Some(every), Below::Documents(documents)) = (self.plan.roll_back, &self.below) else {
            return;
        };
        loop {
            sleep(self.throw(2 * every)).await;
            if self.is_calm() {
                return;
            }
            let (snapshot, then) = (documents.snapshot(), self.truth.now());
            sleep(self.throw(LOST_MOST)).await;
            documents.restore(&snapshot);
            self.truth.go_back(&then);
            self.schedule
                .note("store", "goes back to what it was a while ago");
        }
    }

    pub(super) fn is_calm(&self) -> bool {
        self.calm.load(Relaxed) || self.schedule.now() >= self.plan.calm_after
    }

    /// Records a broken promise, or why the test can't go on.
    pub(super) fn broken(&self, text: String) {
        self.lock().broken.push(text);
    }

    /// All promises that were broken.
    pub(super) fn all_broken(&self) -> Vec<String> {
        let mut all = self.lock().broken.clone();
        all.extend(self.truth.broken());
        all
    }

    pub(super) fn hit(&self, fault: Fault, call: Call) {
        let mut inner = self.lock();
        *inner.hits.entry((fault.name(), call)).or_default() += 1;
        if matches!(fault, Fault::Panic | Fault::PanicAfter) {
            inner.panics += 1;
        }
    }

    /// A call panicked. If no panic was planned, that is a mistake of bgjob.
    pub(super) fn panicked(&self, part: Part) {
        let planned = {
            let mut inner = self.lock();
            let planned = inner.panics > 0;
            inner.panics = inner.panics.saturating_sub(1);
            planned
        };
        if !planned {
            self.broken(format!("a call to the {part} panicked"));
        }
    }

    pub(super) fn hits(&self) -> BTreeMap<(&'static str, Call), u64> {
        self.lock().hits.clone()
    }

    /// The processes of the workers that exist now.
    fn processes(&self) -> Vec<Arc<Process>> {
        let hosts = self.lock().hosts.clone();
        hosts.iter().filter_map(|host| host.process()).collect()
    }

    /// Ends all processes of the run.
    pub(super) fn end(&self) {
        self.processes().iter().for_each(|process| process.kill());
    }
}

impl Sim {
    pub(super) fn new(world: Arc<World>) -> Self {
        let mut builder = JobManager::builder(world.below.store(Faults::none()));
        if let Some(queue) = &world.queue {
            builder = builder.queue(Arc::clone(queue));
        }
        let jobs = builder.build();
        let jobs = jobs.expect("a volatile store and any queue go together");
        Self { world, jobs }
    }

    /// The test's own manager: its calls never fail.
    pub fn jobs(&self) -> &JobManager {
        &self.jobs
    }

    /// The number that all randomness of this run comes from.
    pub fn seed(&self) -> u64 {
        self.world.plan.seed
    }

    /// Simulated time since the run began.
    pub fn now(&self) -> Duration {
        self.world.schedule.now()
    }

    /// Writes a line into the schedule.
    pub fn note(&self, text: impl fmt::Display) {
        self.world.schedule.note("test", text);
    }

    /// Starts processes that serve jobs. `build` sets what they serve, and with which services. A
    /// process that dies starts again within five seconds.
    pub fn workers(
        &self,
        n: usize,
        build: impl Fn(DispatcherBuilder) -> DispatcherBuilder + Send + Sync + 'static,
    ) {
        let build: Arc<super::process::Build> = Arc::new(build);
        for _ in 0..n {
            let mut inner = self.world.lock();
            let name = format!("worker-{}", inner.hosts.len() + 1);
            let host = Arc::new(Host::new(name, Arc::clone(&build)));
            inner.hosts.push(Arc::clone(&host));
            drop(inner);
            let (life, world) = (Arc::clone(&host), Arc::clone(&self.world));
            tokio::spawn(async move { life.live(world).await });
            let world = Arc::clone(&self.world);
            tokio::spawn(async move { host.suffer(world).await });
        }
    }

    /// Starts a process that may die at any point, for good: a program that enqueues, say. The
    /// calls of its manager go wrong like the workers'.
    pub fn process<F>(&self, name: &str, main: impl FnOnce(JobManager) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let name = name.into();
        let jobs = manager(&self.world, &name);
        self.world.process().spawn(main(jobs));
    }

    /// From now on nothing goes wrong. Frozen processes go on.
    pub fn calm(&self) {
        self.world.calm.store(true, Relaxed);
        for process in self.world.processes() {
            process.go_on();
        }
        self.note("all is calm from now on");
    }

    /// Kills the process of this worker, counted from 0.
    pub fn kill(&self, worker: usize) {
        let host = self.world.lock().hosts.get(worker).cloned();
        if let Some(process) = host.and_then(|host| host.process()) {
            self.note(format_args!("kills worker-{}", worker + 1));
            process.kill();
        }
    }

    /// Waits until no job waits or runs. It looks at the store's counts and at the changes that it
    /// saw, because a job that no search finds would never end.
    ///
    /// # Panics
    /// If that takes longer than four hours of simulated time.
    pub async fn all_over(&self) {
        let begun = self.now();
        loop {
            let counts = self.jobs.store().counts().await;
            let counts = counts.expect("the store below never fails");
            let open: Vec<_> = counts
                .into_iter()
                .filter(|count| count.waiting() + count.running > 0)
                .collect();
            let live = self.world.truth.live();
            // After a broken promise the run has failed, so there is no need to wait for its end.
            if open.is_empty() && live.is_empty() || !self.world.all_broken().is_empty() {
                return;
            }
            assert!(
                self.now() - begun < PATIENCE,
                "L1, S8: after {PATIENCE:?} not all jobs are over: {open:?}, in truth {live:?}"
            );
            sleep(Duration::from_secs(1)).await;
        }
    }
}

impl fmt::Debug for Sim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sim")
            .field("plan", &self.world.plan)
            .finish_non_exhaustive()
    }
}
