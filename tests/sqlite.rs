//! SQLite where several hold on to one file: processes, and stores within one.

use std::{
    collections::BTreeMap,
    future::Future,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use bgjob::{
    JobDispatcher, JobId, JobManager, JobSpec, JobState, JobStore, Json, Owner, Registry, Want,
    job,
    job::{Due, End, Grant, NewJob, Serves, Token},
    providers::sqlite::SqliteStore,
    store::{Created, Ending, Filter, Finished, Slice},
};

use tokio::sync::Notify;

/// How a process of these tests knows that it is one, and which file it works on.
const DATABASE: &str = "BGJOB_TEST_SQLITE_DATABASE";

/// A folder of one test's own, gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("bgjob-sqlite-{}", JobId::new()));
        std::fs::create_dir(&path).expect("the folder for temporary files can be written");
        Self(path)
    }

    fn db(&self) -> PathBuf {
        self.0.join("jobs.db")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What can't be removed is the system's to clean up.
        std::fs::remove_dir_all(&self.0).ok();
    }
}

async fn open(path: &Path) -> SqliteStore {
    SqliteStore::open(path)
        .await
        .expect("the database can be opened")
}

fn new(retain: Duration) -> NewJob {
    let mut spec = JobSpec::new("work", Json::null());
    spec.retain = retain;
    NewJob::new(JobId::new(), Arc::new(spec), Due::Now)
}

fn grant() -> Grant {
    Grant::new(Token::random(), Owner::random(), Duration::from_secs(30))
}

fn serves() -> Serves {
    Serves::new(Arc::new(BTreeMap::from([("work".into(), 0)]))).suspect(true)
}

fn queue() -> Arc<str> {
    JobSpec::QUEUE.into()
}

/// Claims and finishes until nothing is left. Answers the ids of what it finished.
async fn work(store: &SqliteStore, max: usize) -> Vec<JobId> {
    let want = [Want::new(queue(), max)];
    let (mut ends, mut done) = (Vec::<Ending>::new(), Vec::new());
    loop {
        let (finished, claimed) = store
            .finish_and_claim(&ends, &want, &grant(), &serves())
            .await
            .expect("it works");
        for (ending, finished) in ends.iter().zip(finished) {
            assert_eq!(finished, Finished::Applied(JobState::Succeeded));
            done.push(ending.id);
        }
        if claimed.jobs.is_empty() {
            return done;
        }
        let end = End::Success(Json::null());
        ends = claimed
            .jobs
            .iter()
            .map(|job| Ending::new(job.id, job.token, end.clone()))
            .collect();
    }
}

/// Waits for what should come at once; a test that fails shall not hang.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), what)
        .await
        .expect("it comes soon")
}

fn process(test: &str, database: &Path) -> Child {
    Command::new(std::env::current_exe().expect("a test has a file"))
        .args(["--exact", test, "--nocapture"])
        .env(DATABASE, database)
        .stdout(Stdio::piped())
        .spawn()
        .expect("a test can start itself")
}

/// What [`three_processes_share_one_file`] starts: opens the database, creates jobs of its own, and
/// works until nothing is left.
#[tokio::test]
async fn process_that_works() {
    let Some(path) = std::env::var_os(DATABASE) else {
        return;
    };
    let store = open(Path::new(&path)).await;
    for _ in 0..20 {
        let jobs: Vec<_> = (0..10).map(|_| new(Duration::ZERO)).collect();
        assert_eq!(
            store.create(&jobs).await.expect("it works"),
            vec![Created::Created; 10]
        );
    }
    for id in work(&store, 7).await {
        println!("done {id}");
    }
}

#[tokio::test]
async fn three_processes_share_one_file() {
    let folder = Folder::new();
    // All three may have to make the database: nobody has done so before.
    let processes: Vec<_> = (0..3)
        .map(|_| process("process_that_works", &folder.db()))
        .collect();
    let mut done = Vec::new();
    for process in processes {
        let output = process.wait_with_output().expect("a process ends");
        let text = String::from_utf8(output.stdout).expect("it says so in words");
        assert!(output.status.success(), "{text}");
        let ids = text.lines().filter_map(|line| line.strip_prefix("done "));
        done.extend(ids.map(|id| id.parse::<JobId>().expect("an id")));
    }
    let store = open(&folder.db()).await;
    done.extend(work(&store, 1000).await);
    assert_eq!(done.len(), 600, "each is done");
    done.sort_unstable();
    done.dedup();
    assert_eq!(done.len(), 600, "and none twice");
    assert_eq!(store.counts().await.expect("it works"), []);
}

/// SQLite's switch to WAL mode does not wait for its turn by itself, which shows now and then.
#[tokio::test(flavor = "multi_thread")]
async fn many_may_open_a_new_file_at_once() {
    for _ in 0..25 {
        let folder = Folder::new();
        let open_and_use = |path: PathBuf| async move {
            let store = open(&path).await;
            store
                .create(&[new(Duration::ZERO)])
                .await
                .expect("it works")
        };
        let opens: Vec<_> = (0..8)
            .map(|_| tokio::spawn(open_and_use(folder.db())))
            .collect();
        for open in opens {
            assert_eq!(open.await.expect("none panics"), [Created::Created]);
        }
    }
}

#[tokio::test]
async fn a_store_wakes_those_who_wait_at_another() {
    let folder = Folder::new();
    let (here, there) = (open(&folder.db()).await, open(&folder.db()).await);
    let queues = [queue()];
    // Nobody looks for commits while nobody waits, so the first wait may find an old one.
    for _ in 0..3 {
        let job = new(Duration::from_secs(60));
        let create = there.create(std::slice::from_ref(&job));
        let (ready, created) = tokio::join!(soon(here.wait_ready(&queues)), create);
        ready.expect("it works");
        created.expect("it works");
        let want = [Want::new(queue(), 1)];
        let claimed = here.claim_ready(&want, &grant(), &serves()).await;
        let claimed = claimed.expect("it works").jobs.remove(0);
        assert_eq!(claimed.id, job.id);
        let end = End::Success(Json::trusted("7"));
        let finish = [Ending::new(job.id, claimed.token, end)];
        let (ended, finished) = tokio::join!(soon(there.wait_ended(job.id)), here.finish(&finish));
        ended.expect("it works");
        finished.expect("it works");
        let found = there.get(&[job.id]).await.expect("it works");
        let found = found[0].as_ref().expect("it is kept");
        assert_eq!(found.state(), JobState::Succeeded);
    }
}

#[tokio::test]
async fn what_was_stored_is_there_when_the_file_is_opened_again() {
    let folder = Folder::new();
    let jobs: Vec<_> = (0..100).map(|_| new(Duration::ZERO)).collect();
    let store = open(&folder.db()).await;
    store.create(&jobs).await.expect("it works");
    let before = store
        .list(&Filter::default(), &Slice::first(1000))
        .await
        .expect("it works");
    drop(store);
    let wal = std::fs::exists(folder.0.join("jobs.db-wal")).expect("the folder can be read");
    assert!(!wal, "a store that is dropped leaves one file, closed");
    let store = open(&folder.db()).await;
    assert_eq!(
        store
            .list(&Filter::default(), &Slice::first(1000))
            .await
            .expect("it works"),
        before
    );
    assert_eq!(work(&store, 1000).await.len(), 100);
}

#[tokio::test]
async fn urls_name_the_file_and_its_options() {
    let folder = Folder::new();
    let url = format!("sqlite:{}?sync=normal", folder.db().display());
    let store = SqliteStore::open_url(&url).await.expect("the URL is right");
    assert_eq!(
        store.capabilities().durability,
        bgjob::Durability::ProcessCrash
    );
    assert!(folder.db().exists());
    let error = SqliteStore::open_url("sqlite:jobs.db?synch=off")
        .await
        .expect_err("a typo");
    assert!(error.to_string().contains("`sync`"), "{error}");
}

/// A trigger of the user's, or whatever else keeps one job from being written.
#[tokio::test]
async fn a_job_that_cannot_be_changed_fails_no_other_ones_sweep() {
    let folder = Folder::new();
    let store = open(&folder.db()).await;
    let late = || {
        let mut job = new(Duration::from_secs(60));
        Arc::make_mut(&mut job.spec).expires = Some(Duration::ZERO);
        job.due = Due::At(bgjob::Timestamp::MIN);
        job
    };
    let jobs: Vec<NewJob> = (0..5).map(|_| late()).collect();
    store.create(&jobs).await.expect("it answers");
    let stuck = jobs[2].id;
    let hex: String = stuck
        .as_bytes()
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    let db = rusqlite::Connection::open(folder.db()).expect("it is there");
    db.execute_batch(&format!(
        "CREATE TRIGGER no BEFORE UPDATE ON bgjob_jobs WHEN OLD.id = x'{hex}'
         BEGIN SELECT RAISE(ABORT, 'no'); END"
    ))
    .expect("it is right");
    let policy = bgjob::job::transition::SweepPolicy::default();
    let swept = store.sweep(10, &policy).await;
    let swept = swept.expect("one job is no reason to fail");
    use bgjob::store::Swept;
    for job in &jobs {
        let as_expected = |one: &Swept| match one {
            Swept::Unreadable { id } => *id == job.id && job.id == stuck,
            Swept::Expired { id, .. } => *id == job.id && job.id != stuck,
            _ => false,
        };
        assert!(swept.iter().any(as_expected), "{} of {swept:?}", job.id);
    }
    // It is as it was.
    let there = store.get(&[stuck]).await.expect("it answers");
    let there = there[0].as_ref().expect("it is there");
    assert_eq!(there.state(), JobState::Ready);
}

/// As large as a job can be.
const LARGE: usize = 1024 * 1024;
/// More than fit into what the worker may take, several times.
const MANY: usize = 400;

static DONE: AtomicUsize = AtomicUsize::new(0);
static ALL: Notify = Notify::const_new();

#[job(name = "large", max_attempts = 1)]
async fn large(text: String) {
    assert_eq!(text.len(), LARGE - 2);
    if DONE.fetch_add(1, Relaxed) + 1 == MANY {
        ALL.notify_one();
    }
}

/// What [`large_jobs_are_run_in_little_memory`] starts: runs all of them and says how much memory
/// that took at most, in KiB.
#[tokio::test]
async fn process_that_runs_large_jobs() {
    let Some(path) = std::env::var_os(DATABASE) else {
        return;
    };
    let jobs = JobManager::builder(open(Path::new(&path)).await).build();
    let jobs = jobs.expect("it can be built");
    let registry = Registry::new().with::<large>();
    let running = JobDispatcher::builder(&jobs)
        .registry(registry)
        .start()
        .await;
    let running = running.expect("it starts");
    soon(ALL.notified()).await;
    let _ = running.shutdown().await;
    let status = std::fs::read_to_string("/proc/self/status").expect("it is Linux");
    let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    println!("took {}", most.expect("it is there").trim());
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn large_jobs_are_run_in_little_memory() {
    let folder = Folder::new();
    let store = open(&folder.db()).await;
    let metadata = format!("\"{}\"", "x".repeat(LARGE - 2));
    for _ in 0..MANY / 4 {
        let job = |_| {
            let mut job = new(Duration::ZERO);
            let spec = Arc::make_mut(&mut job.spec);
            (spec.name, spec.metadata) = ("large".into(), Json::trusted(metadata.as_str()));
            job
        };
        let jobs: Vec<_> = (0..4).map(job).collect();
        store.create(&jobs).await.expect("it works");
    }
    drop(store);
    let worker = process("process_that_runs_large_jobs", &folder.db());
    let output = worker.wait_with_output().expect("it ends");
    let output = String::from_utf8_lossy(&output.stdout).into_owned();
    let took = output.lines().find_map(|line| line.split("took ").nth(1));
    let took = took.and_then(|took| took.strip_suffix(" kB"));
    let took: usize = took.and_then(|took| took.parse().ok()).expect(&output);
    assert!(took < 128 * 1024, "{took} KiB");
}
