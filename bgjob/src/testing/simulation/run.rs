//! [`Simulation`]: makes the runs, and reports which one failed and how.

use std::{
    collections::BTreeMap,
    env, fmt,
    future::Future,
    ops::Range,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::runtime::Builder;

use super::{
    plan::Plan,
    schedule::Schedule,
    sim::{Sim, World},
};
use crate::{
    JobQueue,
    calls::caught,
    lock::Locked,
    providers::channel::ChannelQueue,
    task::Within,
    testing::{Call, TokioClock},
};

/// After this many failures no further runs are made. The failure with the shortest schedule is
/// shown.
const FAILURES: usize = 5;
/// If this variable is a number, only that run is made.
const ONLY: &str = "BGJOB_RUN";

/// The runs of a scenario; see [`simulate!`](crate::simulate).
///
/// ```
/// use std::time::Duration;
/// use bgjob::{Registry, testing::simulation::Simulation};
///
/// # #[bgjob::job] async fn resize(image: u64) {}
/// // Over a document store, by processes whose clocks differ by up to a second.
/// let simulation = Simulation::new().runs(5).clocks_off(Duration::from_millis(500));
/// let report = simulation.check(|sim| async move {
///     sim.workers(2, |worker| worker.registry(Registry::new().with::<resize>()));
///     resize::enqueue(sim.jobs(), 7).await.unwrap();
///     sim.all_over().await;
/// });
/// assert_eq!(report.runs, 5);
/// ```
#[derive(Clone)]
#[must_use = "nothing runs until `check` is called"]
pub struct Simulation {
    runs: u64,
    first: u64,
    threads: usize,
    queue: bool,
    chaos: Option<Duration>,
    documents: bool,
    clocks_off: Duration,
    roll_back: Option<Duration>,
    only: Option<u64>,
}

impl Simulation {
    /// 200 runs, on a store without a queue.
    pub fn new() -> Self {
        let only = env::var(ONLY).ok();
        Self {
            runs: 200,
            first: 0,
            threads: 1,
            queue: false,
            chaos: None,
            documents: false,
            clocks_off: Duration::ZERO,
            roll_back: None,
            only: only.map(|text| text.parse().expect("BGJOB_RUN is a run's number")),
        }
    }

    /// Sets the number of runs. To try each of the [places](Report::places), make it twice their
    /// number.
    pub fn runs(mut self, runs: u64) -> Self {
        self.runs = runs;
        self
    }

    /// Sets the number of the first run, 0 by default. A run's randomness comes from its number, so
    /// a long simulation can be made in parts.
    pub fn first(mut self, run: u64) -> Self {
        self.first = run;
        self
    }

    /// Sets how many runs are made at a time. More than one is right only if the runs share
    /// nothing.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads.max(1);
        self
    }

    /// Puts a queue beside the store.
    pub fn queue(mut self, queue: bool) -> Self {
        self.queue = queue;
        self
    }

    /// Makes many faults instead of a few that jobs survive: as many as the protocol has to bear,
    /// during the first part of each run, which is this long. For tests of stores, not of jobs.
    pub fn chaos(mut self, span: Duration) -> Self {
        self.chaos = Some(span);
        self
    }

    /// Keeps the jobs in a [`DocumentStore`](crate::store::DocumentStore). Each process has its own
    /// adapter, and the calls of the document store go wrong instead of the job store's.
    pub fn documents(mut self) -> Self {
        self.documents = true;
        self
    }

    /// Keeps the jobs in documents, and gives each process its own clock, off by at most this much,
    /// either way. The protocol has to bear half of a sweep's
    /// [margin](crate::job::transition::SweepPolicy::margin) of one second.
    pub fn clocks_off(mut self, most: Duration) -> Self {
        self.clocks_off = most;
        self.documents()
    }

    /// Keeps the jobs in documents, and loses the changes of the last seconds about this often, as
    /// a failover does. A loss is not a broken promise; a caller that looks for a lost job does not
    /// find it.
    pub fn roll_back(mut self, every: Duration) -> Self {
        self.roll_back = Some(every);
        self.documents()
    }

    /// Makes the runs.
    ///
    /// # Panics
    /// If a run fails; see [`simulate!`](crate::simulate).
    #[track_caller]
    pub fn check<F>(self, scenario: impl Fn(Sim) -> F + Sync) -> Report
    where
        F: Future<Output = ()> + Send,
    {
        let whole = self.only.is_none();
        match self.run(scenario) {
            Ok(report) => {
                if whole && report.tried < report.places {
                    let (places, all) = (report.in_places(), 2 * report.places);
                    say(&format!(
                        "{}: {places}; runs = {all} tries all",
                        report.test
                    ));
                }
                report
            }
            Err(failure) => panic!("{failure}"),
        }
    }

    /// Makes the runs, and returns the failure if there is one.
    ///
    /// # Errors
    /// If runs fail: the one with the shortest schedule among the first few failures.
    pub fn run<F>(self, scenario: impl Fn(Sim) -> F + Sync) -> Result<Report, Failure>
    where
        F: Future<Output = ()> + Send,
    {
        let points = self.one(Plan::calm(0), &scenario).points;
        let plan = |run| Plan {
            clocks_off: self.clocks_off,
            roll_back: self.roll_back,
            ..match self.chaos {
                Some(span) => Plan::chaos(run, span),
                None => Plan::of(run, self.runs, points),
            }
        };
        let all = self.first..self.first + self.runs;
        let runs = self.only.map_or(all, |run| run..run + 1);
        let single = match self.chaos {
            Some(_) => 1..1,
            None => 1..Plan::single(self.runs, points) + 1,
        };
        // A later part of a long simulation does not try single places.
        let tries = !single.is_empty() && runs.start < single.end;
        let report = Mutex::new(Report {
            places: if tries { points } else { 0 },
            single,
            test: std::thread::current().name().unwrap_or_default().to_owned(),
            ..Report::default()
        });
        let next = AtomicU64::new(runs.start);
        let work = || {
            loop {
                let run = next.fetch_add(1, Relaxed);
                let enough = report.locked().failures.len() >= FAILURES;
                if run >= runs.end || enough {
                    return;
                }
                let plan = plan(run);
                let outcome = self.one(plan.clone(), &scenario);
                if self.only.is_some() {
                    say(&format!("run {run}: {plan}\n{}", outcome.schedule));
                }
                report.locked().add(run, &plan, outcome);
            }
        };
        if self.threads == 1 {
            work();
        } else {
            std::thread::scope(|scope| {
                for _ in 0..self.threads {
                    scope.spawn(work);
                }
            });
        }
        let report = report.into_inner();
        report.unwrap_or_else(PoisonError::into_inner).judge()
    }

    /// Makes one run, on a new runtime.
    fn one<F>(&self, plan: Plan, scenario: impl Fn(Sim) -> F) -> Outcome
    where
        F: Future<Output = ()> + Send,
    {
        let runtime = Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime can be made");
        runtime.block_on(async {
            let clock = TokioClock::new();
            let queue = self
                .queue
                .then(|| -> Arc<dyn JobQueue> { Arc::new(ChannelQueue::new()) });
            let world = World::new(plan, clock, self.documents, queue);
            tokio::spawn(Arc::clone(&world).roll_back());
            let sim = Sim::new(Arc::clone(&world));
            // The scenario is a process too, so that its randomness and time belong to the run.
            let test = Within::new(Some(world.process()), async { scenario(sim).await });
            let panic = caught(test).await.err();
            world.end();
            Outcome::of(&world, panic)
        })
    }
}

impl Default for Simulation {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Simulation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulation")
            .field("runs", &self.runs)
            .finish_non_exhaustive()
    }
}

/// The result of one run.
struct Outcome {
    failure: Option<String>,
    schedule: Arc<Schedule>,
    points: u64,
    starts: usize,
    hits: BTreeMap<(&'static str, Call), u64>,
    time: Duration,
}

impl Outcome {
    fn of(world: &World, panic: Option<String>) -> Self {
        let mut broken = world.all_broken();
        broken.extend(panic);
        Self {
            failure: (!broken.is_empty()).then(|| broken.join("\n")),
            schedule: Arc::clone(&world.schedule),
            points: world.points.passed(),
            starts: world.truth.starts(),
            hits: world.hits(),
            time: world.schedule.now(),
        }
    }
}

/// What happened in the runs.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Report {
    /// How many runs were made.
    pub runs: u64,
    /// How often jobs were started, in all runs together.
    pub starts: usize,
    /// Simulated time, in all runs together.
    pub time: Duration,
    /// The number of places at which a process could die, in a run where nothing else goes wrong.
    pub places: u64,
    /// How many of these places had a run of their own, in which the process died there.
    pub tried: u64,
    /// How often each fault hit which call.
    pub hits: BTreeMap<(&'static str, Call), u64>,
    /// A hash of what happened in each run, by the run's number. Equal hashes mean equal runs.
    pub hashes: BTreeMap<u64, u64>,
    /// The runs that try one place each.
    single: Range<u64>,
    /// The name of the test that made the runs.
    test: String,
    failures: Vec<Failure>,
}

impl Report {
    /// Adds the report of another simulation. If both have a run of the same number, the other's
    /// hash is kept.
    pub fn join(&mut self, other: Self) {
        self.runs += other.runs;
        self.starts += other.starts;
        self.time += other.time;
        self.places += other.places;
        self.tried += other.tried;
        self.hashes.extend(other.hashes);
        for (hit, n) in other.hits {
            *self.hits.entry(hit).or_default() += n;
        }
    }

    /// The failed run with the shortest schedule, if one failed.
    fn judge(mut self) -> Result<Self, Failure> {
        let (failed, runs) = (self.failures.len(), self.runs);
        self.failures.sort_by_key(|failure| failure.lines);
        match self.failures.into_iter().next() {
            Some(shown) => Err(Failure {
                text: format!(
                    "{failed} of {runs} runs failed, this one with the shortest schedule:\n{}",
                    shown.text
                ),
                ..shown
            }),
            None => Ok(Self {
                failures: Vec::new(),
                ..self
            }),
        }
    }

    fn add(&mut self, run: u64, plan: &Plan, outcome: Outcome) {
        self.runs += 1;
        self.tried += u64::from(self.single.contains(&run));
        self.starts += outcome.starts;
        self.time += outcome.time;
        self.hashes.insert(run, outcome.schedule.hash());
        for (hit, n) in outcome.hits {
            *self.hits.entry(hit).or_default() += n;
        }
        if let Some(text) = outcome.failure {
            self.failures.push(Failure {
                run,
                lines: outcome.schedule.lines(),
                text: format!(
                    "run {run}: {plan}\n{}\n{text}\n\nto repeat it: {}",
                    outcome.schedule,
                    self.again(run)
                ),
            });
        }
    }

    /// The command that repeats a run. A test's thread has the test's name; without a name it is a
    /// program.
    fn again(&self, run: u64) -> String {
        match &*self.test {
            "" | "main" => format!("set {ONLY}={run} and run this program again"),
            test => format!("{ONLY}={run} cargo test {test}"),
        }
    }

    fn in_places(&self) -> String {
        format!("{} of {} places tried", self.tried, self.places)
    }
}

/// A run that failed. It displays as the faults of the run, its schedule, why it failed, and the
/// command that repeats it.
#[derive(Debug)]
#[non_exhaustive]
pub struct Failure {
    /// The run's number.
    pub run: u64,
    lines: usize,
    text: String,
}

impl std::error::Error for Failure {}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hours = self.time.as_secs_f64() / 3600.0;
        writeln!(
            f,
            "{} runs, {hours:.0} simulated hours, {} starts of jobs",
            self.runs, self.starts
        )?;
        if self.places > 0 {
            writeln!(f, "{}", self.in_places())?;
        }
        let mut faults: Vec<_> = self.hits.keys().map(|(fault, _)| *fault).collect();
        faults.sort_unstable();
        faults.dedup();
        write!(f, "{:<16}", "hits")?;
        for fault in &faults {
            write!(f, "{fault:>12}")?;
        }
        writeln!(f)?;
        let mut calls: Vec<_> = self.hits.keys().map(|(_, call)| *call).collect();
        calls.sort_unstable();
        calls.dedup();
        for call in calls {
            write!(f, "{:<16}", format!("{call:?}"))?;
            for fault in &faults {
                match self.hits.get(&(*fault, call)) {
                    Some(n) => write!(f, "{n:>12}")?,
                    None => write!(f, "{:>12}", "-")?,
                }
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

#[allow(
    clippy::print_stdout,
    reason = "whoever repeats one run wants to see it"
)]
fn say(text: &str) {
    println!("{text}");
}
