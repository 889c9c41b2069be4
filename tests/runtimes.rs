//! Runtimes that come and go under a dispatcher: nothing of it stays, and what it held starts again
//! elsewhere, on every store.
#![cfg(target_os = "linux")]

use std::{
    path::PathBuf,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::SeqCst},
        mpsc::{Receiver, Sender, channel},
    },
    time::{Duration, Instant},
};

use bgjob::{
    DispatcherBuilder, JobDispatcher, JobHandle, JobId, JobManager, JobState, Outcome, Registry,
    State, job, providers::memory::MemoryStore,
};
use tokio::runtime::Runtime;

const LEASE: Duration = Duration::from_secs(5);
/// Much less than a lease: what starts again by then was given back.
const SOON: Duration = Duration::from_secs(4);

/// Where handlers say that they have begun, and whether they are to end.
struct Probe {
    begun: Mutex<Sender<u32>>,
    ends: bool,
}

impl Probe {
    fn say(&self, n: u32) {
        self.begun.lock().unwrap().send(n).ok();
    }
}

/// Takes no time, so that much is claimed ahead.
#[job]
async fn short(_: ()) {}

/// Ends where it is told to.
#[job(timeout = "10m")]
async fn long(n: u32, probe: State<Probe>) -> Outcome<u32> {
    probe.say(n);
    if !probe.ends {
        std::future::pending::<()>().await;
    }
    Outcome::Success(n)
}

static BLOCKED: AtomicBool = AtomicBool::new(false);

/// The same, and can't be dropped.
#[job(blocking, timeout = "10m")]
fn blocks(n: u32, probe: State<Probe>) -> Outcome<u32> {
    probe.say(n);
    while !probe.ends && BLOCKED.load(SeqCst) {
        std::thread::park_timeout(Duration::from_millis(10));
    }
    Outcome::Success(n)
}

/// Tests that count threads take turns.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Threads of this process that a dispatcher started for its leases.
fn lease_threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let names =
        tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names
        .filter(|name| name.trim_end() == "bgjob-lease")
        .count()
}

/// Asks until it is so.
#[track_caller]
fn until(within: Duration, mut is: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is() {
        assert!(begun.elapsed() < within, "not within {within:?}");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

fn builder(jobs: &JobManager, ends: bool) -> (DispatcherBuilder, Receiver<u32>) {
    let (begun, heard) = channel();
    let registry = Registry::new()
        .with::<short>()
        .with::<long>()
        .with::<blocks>();
    let builder = JobDispatcher::builder(jobs)
        .registry(registry)
        .state(Probe {
            begun: Mutex::new(begun),
            ends,
        })
        .slots("default", 1)
        .lease(LEASE)
        .sweep_every(Duration::from_millis(200));
    (builder, heard)
}

/// A store that can be opened again, in whatever runtime.
enum Place {
    Memory(JobManager),
    Url(String),
}

impl Place {
    fn memory() -> Self {
        Self::Memory(JobManager::builder(MemoryStore::new()).build().unwrap())
    }

    async fn open(&self) -> JobManager {
        match self {
            Self::Memory(jobs) => jobs.clone(),
            Self::Url(url) => JobManager::connect(url).await.unwrap(),
        }
    }
}

/// A folder of its own, gone at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("bgjob-runtimes-{}", JobId::new()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn url(&self, scheme: &str, name: &str) -> Place {
        Place::Url(format!("{scheme}:{}", self.0.join(name).display()))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

/// How a runtime ends.
#[derive(Clone, Copy)]
enum Way {
    Dropped,
    InTheBackground,
}

impl Way {
    fn end(self, runtime: Runtime) {
        match self {
            Self::Dropped => drop(runtime),
            Self::InTheBackground => runtime.shutdown_background(),
        }
    }
}

/// One job runs and others wait in hand when the runtime goes: all start again at once, in another
/// dispatcher of another runtime, and none pays for it.
fn lets_go(place: &Place, way: Way) {
    let _turn = alone();
    let before = lease_threads();
    let first = Runtime::new().unwrap();
    let (handles, heard) = first.block_on(async {
        let jobs = place.open().await;
        let (builder, heard) = builder(&jobs, false);
        let running = builder.start().await.unwrap();
        let shorts = short::enqueue_all(&jobs, vec![(); 200]).await.unwrap();
        for job in &shorts {
            job.ended().await.unwrap();
        }
        let handles = long::enqueue_all(&jobs, 0..5).await.unwrap();
        let handles: Vec<_> = handles.iter().map(JobHandle::id).collect();
        drop(running);
        (handles, heard)
    });
    heard.recv_timeout(Duration::from_secs(30)).unwrap();
    assert_eq!(lease_threads(), before + 1);
    let gone = Instant::now();
    way.end(first);
    until(Duration::from_secs(10), || lease_threads() == before);

    let second = Runtime::new().unwrap();
    second.block_on(async {
        let jobs = place.open().await;
        let (builder, heard) = builder(&jobs, true);
        let running = builder.start().await.unwrap();
        for id in &handles {
            let job = until_over(&jobs, *id).await;
            assert_eq!((job.state(), job.crashes), (JobState::Succeeded, 0));
        }
        assert!(gone.elapsed() < SOON, "{:?}", gone.elapsed());
        assert_eq!(heard.try_iter().count(), handles.len());
        running.shutdown().await;
    });
    until(Duration::from_secs(10), || lease_threads() == before);
}

/// So that others get a turn.
async fn a_moment() {
    let never = std::future::pending::<()>();
    let _ = tokio::time::timeout(Duration::from_millis(5), never).await;
}

async fn until_over(jobs: &JobManager, id: JobId) -> bgjob::Job {
    let over = async {
        loop {
            let job = jobs.get(id).await.unwrap().unwrap();
            if job.state().is_terminal() {
                return job;
            }
            a_moment().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), over)
        .await
        .unwrap()
}

#[test]
fn a_dispatcher_whose_runtime_is_dropped_lets_go_of_its_jobs() {
    let folder = Folder::new();
    lets_go(&Place::memory(), Way::Dropped);
    lets_go(&folder.url("sqlite", "jobs.db"), Way::Dropped);
    lets_go(&folder.url("file", "jobs"), Way::Dropped);
}

#[test]
fn a_dispatcher_whose_runtime_ends_in_the_background_lets_go_of_its_jobs() {
    let folder = Folder::new();
    lets_go(&Place::memory(), Way::InTheBackground);
    lets_go(&folder.url("sqlite", "jobs.db"), Way::InTheBackground);
    lets_go(&folder.url("file", "jobs"), Way::InTheBackground);
}

#[test]
fn on_postgres_too() {
    let server = bgjob_test_servers::postgres::Server::start(&["fsync=off"]);
    for way in [Way::Dropped, Way::InTheBackground] {
        lets_go(&Place::Url(server.url()), way);
    }
}

/// Its code runs on, so it is not given back: its lease ends, and it pays with a crash.
#[test]
fn blocking_code_keeps_its_lease_for_as_long_as_that_lasts() {
    let _turn = alone();
    let before = lease_threads();
    BLOCKED.store(true, SeqCst);
    let place = Place::memory();
    let first = Runtime::new().unwrap();
    let (id, heard) = first.block_on(async {
        let jobs = place.open().await;
        let (builder, heard) = builder(&jobs, false);
        let _running = builder.start().await.unwrap();
        (blocks::enqueue(&jobs, 7).await.unwrap().id(), heard)
    });
    heard.recv_timeout(Duration::from_secs(30)).unwrap();
    let gone = Instant::now();
    drop(first);
    assert!(gone.elapsed() < SOON, "nobody waits for blocking code");
    until(Duration::from_secs(10), || lease_threads() == before);
    Runtime::new().unwrap().block_on(async {
        let jobs = place.open().await;
        let (builder, _heard) = builder(&jobs, true);
        let running = builder.start().await.unwrap();
        let job = until_over(&jobs, id).await;
        assert_eq!((job.state(), job.crashes), (JobState::Succeeded, 1));
        running.shutdown().await;
    });
    BLOCKED.store(false, SeqCst);
}

/// `run()` is the dispatcher: who drops its future ends it.
#[test]
fn a_run_that_is_dropped_half_way_gives_its_jobs_back() {
    let _turn = alone();
    let before = lease_threads();
    Runtime::new().unwrap().block_on(async {
        let jobs = Place::memory().open().await;
        for until_signal in [true, false] {
            let (dispatcher, heard) = builder(&jobs, false);
            let dispatcher = dispatcher
                .drain(Duration::ZERO)
                .cancel_within(Duration::ZERO);
            let id = long::enqueue(&jobs, 1).await.unwrap().id();
            let begun = async {
                while heard.try_recv().is_err() {
                    a_moment().await;
                }
            };
            if until_signal {
                tokio::select! { _ = dispatcher.run() => unreachable!(), () = begun => {} }
            } else {
                let run = dispatcher.run_until(std::future::pending::<()>());
                tokio::select! { _ = run => unreachable!(), () = begun => {} }
            }
            let ready = async || {
                let job = jobs.get(id).await.unwrap().unwrap();
                (job.state(), job.crashes) == (JobState::Ready, 0)
            };
            let dropped = Instant::now();
            while !ready().await {
                assert!(dropped.elapsed() < SOON);
                a_moment().await;
            }
            jobs.cancel(id).await.unwrap();
        }
    });
    until(Duration::from_secs(10), || lease_threads() == before);
}
