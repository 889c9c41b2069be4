//! [`Bundle`]: a fresh store whose time passes, and the [`Worker`]s that the cases start.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use serde_json::Value;
use tokio::{
    sync::{Barrier, watch},
    task::JoinSet,
    time::{Instant, sleep},
};

use bgjob::{
    DispatcherBuilder, DispatcherHandle, Enqueue, Event, Job, JobDispatcher, JobHandle, JobId,
    JobManager, JobQueue, JobStore, Outcome, ShutdownReport,
    store::Finished,
    testing::{Call, Fault, Faults, Faulty},
};

use super::handlers::{Place, registry};
use crate::StoreFixture;

/// The pause between two looks in a loop.
const LITTLE: Duration = Duration::from_millis(10);
/// Much more than a lease.
const LONG: Duration = Duration::from_secs(120);

/// What a case of the lifecycle suite works with.
pub struct Bundle {
    /// The store under test, empty at first.
    pub store: Arc<dyn JobStore>,
    queue: Option<Arc<dyn JobQueue>>,
    fixture: Arc<dyn StoreFixture>,
    /// The manager of the process that enqueues and reads.
    pub(super) jobs: JobManager,
    two: Arc<Barrier>,
    /// How many workers were started.
    workers: AtomicUsize,
    /// The task that moves the store's time.
    _time: JoinSet<()>,
}

impl fmt::Debug for Bundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bundle")
            .field("store", &self.store)
            .field("queue", &self.queue)
            .finish_non_exhaustive()
    }
}

impl Bundle {
    pub(crate) fn new(fixture: impl StoreFixture + 'static) -> Self {
        let fixture: Arc<dyn StoreFixture> = Arc::new(fixture);
        let (store, queue) = (fixture.store(), fixture.queue());
        let mut time = JoinSet::new();
        time.spawn(follow(Arc::clone(&fixture)));
        let jobs = manager(Arc::clone(&store), queue.clone());
        Self {
            store,
            queue,
            fixture,
            jobs,
            two: Arc::new(Barrier::new(2)),
            workers: AtomicUsize::new(0),
            _time: time,
        }
    }

    /// Lets enough of the store's time pass that every lease so far has run out.
    pub(super) async fn let_leases_end(&self) {
        self.fixture.advance(LONG).await;
    }

    pub(super) async fn advance(&self, by: Duration) {
        self.fixture.advance(by).await;
    }

    /// A job about to be enqueued.
    pub(super) fn new_job(
        &self,
        name: &'static str,
        metadata: u32,
    ) -> Enqueue<u32, Outcome<Value>> {
        self.jobs.enqueue_raw(name, metadata)
    }

    pub(super) async fn enqueue(&self, name: &'static str) -> JobHandle<Outcome<Value>> {
        self.new_job(name, 0).await.expect("the store takes it")
    }

    /// Waits until the stored job meets this condition.
    pub(super) async fn until(&self, id: JobId, what: impl Fn(&Job) -> bool) -> Job {
        loop {
            let job = self.jobs.get(id).await.expect("the store answers");
            let job = job.expect("what is not over is there");
            if what(&job) {
                return job;
            }
            sleep(LITTLE).await;
        }
    }

    /// Starts a dispatcher as if in a process of its own.
    pub(super) async fn worker(&self, name: &'static str) -> Worker {
        self.worker_with(name, |builder| builder).await
    }

    /// Starts a dispatcher as if in a process of its own, with these settings.
    pub(super) async fn worker_with(
        &self,
        name: &'static str,
        build: impl FnOnce(DispatcherBuilder) -> DispatcherBuilder,
    ) -> Worker {
        let faults = Faults::none();
        let store = Faulty::new(self.opened()).with_faults(faults.clone());
        let queue = self.queue.clone();
        let queue = queue.map(|queue| Faulty::new(queue).with_faults(faults.clone()));
        let place = Arc::new(Place::new(name, Arc::clone(&self.two)));
        let lost = watch::Sender::new(0);
        let builder = JobDispatcher::builder(&manager(store, queue))
            .registry(registry())
            .shared_state(Arc::clone(&place))
            .sweep_every(5 * LITTLE)
            .on_event({
                let lost = lost.clone();
                move |event| {
                    if let Event::Recorded {
                        answer: Finished::Lost,
                        ..
                    } = event
                    {
                        lost.send_modify(|lost| *lost += 1);
                    }
                }
            });
        let running = build(builder).start().await;
        Worker {
            place,
            running: running.expect("a dispatcher starts"),
            faults,
            lost,
        }
    }

    /// The store as the next process opens it: not the opening of the process that enqueues, nor
    /// that of the worker before, if there are two.
    fn opened(&self) -> Arc<dyn JobStore> {
        let second = self.fixture.second();
        let nth = self.workers.fetch_add(1, Relaxed);
        let second = second.filter(|_| nth.is_multiple_of(2));
        second.unwrap_or_else(|| Arc::clone(&self.store))
    }

    /// The most that an idle worker may be late with a delayed job.
    pub(super) fn promised(&self) -> Duration {
        let looks = self.queue.as_ref().map_or(0, |_| 1_000);
        Duration::from_millis(100 + looks)
    }

    /// Whether urgent jobs go first. A queue may have its own order.
    pub(super) fn urgent_go_first(&self) -> bool {
        let queue = self.queue.as_ref();
        queue.is_none_or(|queue| queue.capabilities().priorities)
    }
}

/// A manager of one process's store and queue.
fn manager(store: impl JobStore + 'static, queue: Option<impl JobQueue + 'static>) -> JobManager {
    let builder = JobManager::builder(store);
    let builder = match queue {
        Some(queue) => builder.queue(queue),
        None => builder,
    };
    builder.build().expect("store and queue go together")
}

/// Moves the store's time along with real time, in which dispatchers wait.
async fn follow(fixture: Arc<dyn StoreFixture>) {
    let mut last = Instant::now();
    loop {
        sleep(LITTLE).await;
        let now = Instant::now();
        fixture.advance(now - last).await;
        last = now;
    }
}

/// A dispatcher that behaves like one in another process.
pub(super) struct Worker {
    pub(super) place: Arc<Place>,
    running: DispatcherHandle,
    faults: Faults,
    /// How many ends of its jobs the store has refused.
    lost: watch::Sender<usize>,
}

impl Worker {
    /// From now on none of its calls arrive, as if its process were killed.
    pub(super) fn vanish(&self) {
        self.faults.always(&[], Fault::Before);
    }

    /// Its calls arrive again, as after a freeze or a network failure.
    pub(super) fn come_back(&self) {
        self.faults.heal();
    }

    /// Waits until it has swept again.
    pub(super) async fn swept(&self) {
        let sweeps = || self.faults.count(Call::Sweep);
        // One sweep may be on its way now, and a sweep is counted before it is done.
        let enough = sweeps() + 3;
        while sweeps() < enough {
            sleep(LITTLE).await;
        }
    }

    /// Waits until the store has refused an end of one of its jobs.
    pub(super) async fn refused(&self) {
        let mut lost = self.lost.subscribe();
        let refused = lost.wait_for(|lost| *lost > 0);
        refused.await.expect("its worker is here");
    }

    /// Shuts the dispatcher down.
    pub(super) async fn shutdown(self) -> ShutdownReport {
        let drained = self.running.shutdown().await;
        assert_eq!(self.place.early(), [], "nothing starts before it is due");
        assert_eq!(drained.unknown, 0, "the store takes every end in time");
        drained
    }

    /// Shuts the dispatcher down when all jobs are done.
    pub(super) async fn end(self) {
        assert_eq!(self.shutdown().await.released, 0, "all was done");
    }
}
