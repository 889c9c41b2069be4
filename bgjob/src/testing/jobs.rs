//! [`TestJobs`]: a manager, a clock that the test moves, and a dispatcher that runs on demand.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    ops::Deref,
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use async_trait::async_trait;

use super::{ManualClock, Run, Runs};
use crate::{
    Clock, DispatcherBuilder, Error, Job, JobDispatcher, JobId, JobManager, JobState, Timestamp,
    dispatcher::ByHand,
    job::{
        ClaimedJob, End, Grant, limits,
        transition::{self, SweepPolicy},
    },
    lock::Locked,
    manager::Inline,
    providers::memory::MemoryStore,
    store::{Claim, Claimed, Ending, Filter, JobStore, Renewal, Slice, Swept, Want},
};

/// A [`JobManager`] for tests: its store is in memory, its clock moves when the test says so, and
/// its jobs run when the test says so.
///
/// Pass it on as a `&JobManager`, which it dereferences to; for code that wants to own a manager,
/// use [`manager`](Self::manager). Jobs run one after the other, each through the store and through
/// a complete attempt; only the loops of a dispatcher are missing. The next job is claimed when the
/// one before is over: within a queue the most urgent job, then the one that has been due longest;
/// among queues the one whose next job has been due longest. A retry waits its whole backoff,
/// without the random part, so that every run is the same.
///
/// ```
/// use bgjob::{JobError, State, extract::Attempts, job, testing::TestJobs};
/// use std::time::Duration;
///
/// struct Mailer { down_until_attempt: u32 }
///
/// #[job(name = "kit_mail", backoff = "exponential(1h, max 1d)")]
/// async fn mail(_: String, mailer: State<Mailer>, attempts: Attempts) -> Result<(), JobError> {
///     if attempts.this < mailer.down_until_attempt {
///         return Err(JobError::retry("the mail server is down"));
///     }
///     Ok(())
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> bgjob::Result<()> {
/// let jobs = TestJobs::new().state(Mailer { down_until_attempt: 3 });
/// # let jobs = jobs.dispatcher(|d| d.registry(bgjob::Registry::new().with::<mail>()));
/// mail::enqueue(&jobs, "ada".into()).delay(Duration::from_secs(60)).await?;
///
/// let a_day = Duration::from_secs(24 * 60 * 60);
/// let runs = jobs.drain_for(a_day).await.assert_succeeded();
/// assert_eq!(runs.to_string(), "\
/// 1m     kit_mail  attempt 1  retry in 1h: the mail server is down
/// 1h 1m  kit_mail  attempt 2  retry in 2h: the mail server is down
/// 3h 1m  kit_mail  attempt 3  succeeded
/// ");
/// # Ok(()) }
/// ```
///
/// # Panics
/// The methods panic if the test is at fault (a service is missing, say) or the store fails.
#[must_use = "it is there to enqueue to"]
pub struct TestJobs {
    manager: JobManager,
    clock: ManualClock,
    hands: Arc<InlineHands>,
}

/// Runs the jobs. In inline mode an enqueue calls it.
struct InlineHands {
    clock: ManualClock,
    start: Timestamp,
    store: Arc<dyn JobStore>,
    /// Taken when the first job runs.
    dispatcher: Mutex<Option<DispatcherBuilder>>,
    by_hand: OnceLock<ByHand>,
    ran: Mutex<Vec<Run>>,
}

tokio::task_local! {
    /// The number of enqueues around this one. Each of them is running a job inline that enqueued
    /// the next.
    static DEPTH: usize;
}

impl TestJobs {
    /// More jobs than any test runs on purpose in one drain.
    const RUNS_MAX: usize = 20_000;
    /// More jobs than any test nests on purpose, each enqueued by the one before and run inline.
    const DEPTH_MAX: usize = 64;

    /// A `TestJobs` without jobs. Its clock is a minute ahead of the host's, so that a job that the
    /// code under test schedules by the host's clock is due when the test says it is.
    pub fn new() -> Self {
        let clock = ManualClock::at(Timestamp::now() + Duration::from_secs(60));
        let store = MemoryStore::with_clock(Arc::new(clock.clone()));
        let manager = JobManager::builder(store).build();
        Self::over(manager.expect("the memory store can do everything"), clock)
    }

    /// Uses your own manager, whose store must go by this clock.
    pub fn over(manager: JobManager, clock: ManualClock) -> Self {
        let hands = InlineHands {
            start: clock.now(),
            clock: clock.clone(),
            store: Arc::clone(manager.store()),
            dispatcher: Mutex::new(Some(JobDispatcher::builder(&manager))),
            by_hand: OnceLock::new(),
            ran: Mutex::default(),
        };
        Self {
            manager,
            clock,
            hands: Arc::new(hands),
        }
    }

    /// Adds a service that jobs take as [`State<T>`](crate::State).
    pub fn state<T: Send + Sync + 'static>(self, service: T) -> Self {
        self.dispatcher(|dispatcher| dispatcher.state(service))
    }

    /// Adds a service that the test keeps as well, to look at it afterwards.
    pub fn shared_state<T: Send + Sync + 'static>(self, service: Arc<T>) -> Self {
        self.dispatcher(|dispatcher| dispatcher.shared_state(service))
    }

    /// Sets up the dispatcher as the program does: middleware, queues, a registry. If you have a
    /// function that adds all your services to a builder, pass it here.
    pub fn dispatcher(self, set: impl FnOnce(DispatcherBuilder) -> DispatcherBuilder) -> Self {
        {
            let mut builder = self.hands.dispatcher.locked();
            let old = builder
                .take()
                .expect("the dispatcher is set up before the first job runs");
            *builder = Some(set(old));
        }
        self
    }

    /// From now on each enqueue runs its jobs before it returns, and also the jobs that those
    /// enqueue. If a job fails, its enqueue panics with the error.
    ///
    /// Some jobs wait for a [`drain_for`](Self::drain_for) instead: those that are delayed, are
    /// enqueued in a transaction, or have a queue or name that is not served. An enqueue that finds
    /// its job already stored does not wait for that job to run.
    ///
    /// ```
    /// use bgjob::{State, job, testing::TestJobs};
    /// use std::sync::{Arc, Mutex};
    ///
    /// #[job(name = "kit_inline")]
    /// async fn greet(name: String, greeted: State<Mutex<Vec<String>>>) {
    ///     greeted.lock().unwrap().push(name);
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> bgjob::Result<()> {
    /// let greeted = Arc::new(Mutex::new(Vec::<String>::new()));
    /// let jobs = TestJobs::new().shared_state(Arc::clone(&greeted));
    /// # let jobs = jobs.dispatcher(|d| d.registry(bgjob::Registry::new().with::<greet>()));
    /// let manager = jobs.inline().manager();
    /// greet::enqueue(&manager, "ada".into()).await?;
    /// assert_eq!(*greeted.lock().unwrap(), ["ada"]);
    /// # Ok(()) }
    /// ```
    pub fn inline(mut self) -> Self {
        let hands: Arc<dyn Inline> = Arc::<InlineHands>::clone(&self.hands);
        // If it is set already, it is set to the same `hands`.
        let _ = self.manager.inner.inline.set(Arc::downgrade(&hands));
        self.manager.keeps = Some(hands);
        self
    }

    /// A manager for code that wants to own one. It has the same store and the same jobs.
    pub fn manager(&self) -> JobManager {
        self.manager.clone()
    }

    /// The clock that the store goes by. It stands still, even while jobs run.
    pub fn clock(&self) -> &ManualClock {
        &self.clock
    }

    /// Runs the jobs that are due, and those that become due by it, until none is left.
    pub async fn drain(&self) -> Runs {
        self.drain_until(self.clock.now()).await
    }

    /// Like [`drain`](Self::drain), for this span from now: the clock moves from one due time to
    /// the next, and at last to the end of the span. A week of delays, retries and snoozes takes
    /// milliseconds.
    pub async fn drain_for(&self, span: Duration) -> Runs {
        self.drain_until(self.clock.now() + span).await
    }

    /// Like [`drain_for`](Self::drain_for), until this time.
    pub async fn drain_until(&self, end: impl Into<Timestamp>) -> Runs {
        self.hands.drain(end.into()).await
    }

    /// All runs so far, inline or by a drain.
    pub fn ran(&self) -> Runs {
        let ran = self.hands.ran.locked().clone();
        Runs::new(self.hands.start, ran, Vec::new())
    }
}

impl InlineHands {
    fn by_hand(&self) -> &ByHand {
        self.by_hand.get_or_init(|| {
            let builder = self.dispatcher.locked().take();
            let builder = builder.expect("it is taken once, here");
            builder.by_hand().unwrap_or_else(|error| panic!("{error}"))
        })
    }

    async fn drain(&self, end: Timestamp) -> Runs {
        let (start, mut runs, mut left) = (self.start, Vec::new(), Vec::new());
        loop {
            left.extend(self.sweep().await);
            let (grant, claimed) = self.claim().await;
            let next = self.next_due(&claimed).await;
            let some = !claimed.jobs.is_empty();
            for job in claimed.jobs {
                assert!(
                    runs.len() < TestJobs::RUNS_MAX,
                    "{} jobs ran, and `{}` is due: does a job enqueue itself without end?",
                    runs.len(),
                    job.spec.name
                );
                runs.push(self.run(&grant, job).await);
            }
            match next.filter(|next| *next <= end) {
                _ if some => {}
                Some(next) => self.clock.set(next),
                None => break,
            }
        }
        self.clock.set(end.max(self.clock.now()));
        left.extend(self.left().await);
        Runs::new(start, runs, left)
    }

    /// Ends the jobs that are too late to start. Returns a line for each of them.
    async fn sweep(&self) -> Vec<String> {
        let policy = SweepPolicy::default();
        let mut ended = Vec::new();
        for one in answered(self.store.sweep(limits::BATCH, &policy).await) {
            if let Swept::Expired { job, .. } = one
                && let Some(reason) = job.dead
            {
                ended.push(format!(
                    "{}  dead ({reason}): it was too late to start",
                    job.name
                ));
            }
        }
        ended
    }

    /// Claims the next job. Only one, because its handler may change the others.
    async fn claim(&self) -> (Grant, Claimed) {
        let (grant, want) = (self.by_hand().grant(), self.want().await);
        let serves = self.by_hand().serves();
        let claimed = answered(self.store.claim_ready(&want, &grant, &serves).await);
        claimed.jobs.iter().for_each(|job| self.check_needs(job));
        (grant, claimed)
    }

    /// Claims this job, if it is due and the dispatcher would run it.
    async fn claim_this(&self, id: JobId) -> Option<(Grant, ClaimedJob)> {
        let by_hand = self.by_hand();
        let job = answered(self.store.get(&[id]).await).pop().flatten()?;
        if by_hand.refuses(&job).is_some() {
            return None;
        }
        let (grant, serves) = (by_hand.grant(), by_hand.serves());
        match answered(self.store.claim(&[id], &grant, &serves).await).pop() {
            Some(Claim::Claimed(job)) => {
                self.check_needs(&job);
                Some((grant, job))
            }
            _ => None,
        }
    }

    fn check_needs(&self, job: &ClaimedJob) {
        if let Err(error) = self.by_hand().check_needs(&job.spec.name) {
            panic!("{error}");
        }
    }

    /// Asks for one job of the queue whose turn it is. If jobs wait in one queue only, as in most
    /// tests, or if none is due, it asks for all queues: that is cheap, and the answer says when
    /// the next job is due.
    async fn want(&self) -> Vec<Want> {
        let mut want = self.by_hand().want_one();
        let counts = answered(self.store.counts().await);
        let waiting = counts.iter().filter(|count| {
            let served = want.iter().any(|want| want.queue == count.queue);
            served && count.waiting() > 0
        });
        let queues: BTreeSet<_> = waiting.map(|count| &count.queue).collect();
        if queues.len() > 1
            && let Some(first) = self.next_queue().await
        {
            want.retain(|want| want.queue == first);
        }
        want
    }

    /// The queue whose next job has been due longest, if a job is due.
    async fn next_queue(&self) -> Option<Arc<str>> {
        let mut next = BTreeMap::new();
        for job in all(&self.store, &ready()).await {
            if job.due_at <= self.clock.now() && self.by_hand().refuses(&job).is_none() {
                let place = (job.spec.priority.rank(), job.due_at, job.id);
                let first = next.entry(Arc::clone(&job.spec.queue)).or_insert(place);
                *first = place.min(*first);
            }
        }
        let mut next: Vec<_> = next.into_iter().collect();
        next.sort_by_key(|(_, (rank, due_at, id))| (*due_at, *rank, *id));
        next.into_iter().next().map(|(queue, _)| queue)
    }

    /// When the next job is due, if no job is due now.
    async fn next_due(&self, claimed: &Claimed) -> Option<Timestamp> {
        if !claimed.jobs.is_empty() {
            return None;
        }
        if self.store.capabilities().next_due {
            return claimed.next_due_in.map(|span| self.clock.now() + span);
        }
        let ready = all(&self.store, &ready()).await;
        let served = ready
            .iter()
            .filter(|job| self.by_hand().refuses(job).is_none());
        served.map(|job| job.due_at).min()
    }

    /// The jobs that are due and did not run, and why.
    async fn left(&self) -> Vec<String> {
        let now = self.clock.now();
        let mut left = Vec::new();
        for job in all(&self.store, &ready()).await {
            if job.due_at <= now {
                let why = self.by_hand().refuses(&job).unwrap_or_default();
                left.push(format!("{}  {why}", job.spec.name));
            }
        }
        left
    }

    /// Runs this job if it is due, and panics if it fails.
    async fn run_now(&self, id: JobId) {
        let mut runs = 0;
        while let Some((grant, job)) = self.claim_this(id).await {
            let run = self.run(&grant, job).await;
            if run.failed() {
                let endless = run.failure().message() == ENDLESS;
                assert!(!endless, "{ENDLESS}");
                panic!("a job that ran inline failed:\n  {run}");
            }
            runs += 1;
            assert!(
                runs < TestJobs::RUNS_MAX,
                "`{}` ran {runs} times, and is due: does it snooze for no time without end?",
                run.job.spec.name
            );
        }
    }

    /// Runs a claimed job and records its end.
    async fn run(&self, grant: &Grant, claimed: ClaimedJob) -> Run {
        let by_hand = self.by_hand();
        let (id, token) = (claimed.id, grant.token);
        let (attempt, at) = (claimed.errors + 1, claimed.claimed_at);
        let before = answered(self.store.get(&[id]).await).pop().flatten();
        let context = by_hand.context(claimed);
        let end = by_hand.run(&context).await.unwrap_or(End::Release);
        if let progress @ Some(_) = context.reported() {
            let mut held = Renewal::new(id, token);
            held.progress = progress;
            answered(self.store.renew(&[held], grant.lease).await);
        }
        let ending = Ending::new(id, token, end.clone());
        answered(self.store.finish(&[ending]).await);
        // A job with a retention of zero is gone by now. Its end is known all the same.
        let after = answered(self.store.get(&[id]).await).pop().flatten();
        let ended = before.map(|mut job| {
            transition::finish(&mut job, token, &end, at);
            job
        });
        let job = after.or(ended).expect("a job that is held is there");
        let run = Run::new(&end, job, attempt, at);
        self.ran.locked().push(run.clone());
        run
    }
}

/// Matches the jobs that wait.
fn ready() -> Filter {
    Filter::default().state(JobState::Ready)
}

#[async_trait]
impl Inline for InlineHands {
    /// Runs exactly these jobs. So each enqueue has run its own jobs when it returns, even if
    /// several enqueue at a time, and it sees their failures.
    async fn enqueued(&self, jobs: &[JobId]) {
        let depth = DEPTH.try_with(|depth| *depth).unwrap_or(0);
        assert!(depth < TestJobs::DEPTH_MAX, "{ENDLESS}");
        for job in jobs {
            DEPTH.scope(depth + 1, self.run_now(*job)).await;
        }
    }
}

/// Reported once, at whatever depth it is found.
const ENDLESS: &str = "jobs that run inline enqueue each other without end";

/// All jobs that fit, in the order of their ids.
pub(super) async fn all(store: &Arc<dyn JobStore>, filter: &Filter) -> Vec<Job> {
    let (mut jobs, mut slice) = (Vec::new(), Slice::first(limits::BATCH));
    loop {
        let page = answered(store.list(filter, &slice).await);
        jobs.extend(page.jobs);
        match page.next {
            Some(next) => slice = slice.after(next),
            None => return jobs,
        }
    }
}

/// The store's answer. A test can't go on without one, so an error panics.
pub(super) fn answered<T>(answer: Result<T, Error>) -> T {
    answer.unwrap_or_else(|error| panic!("the store failed: {error:?}"))
}

impl Deref for TestJobs {
    type Target = JobManager;

    fn deref(&self) -> &JobManager {
        &self.manager
    }
}

impl Default for TestJobs {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for TestJobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestJobs")
            .field("now", &self.clock.now())
            .field("ran", &self.hands.ran.locked().len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for InlineHands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InlineHands").finish_non_exhaustive()
    }
}
