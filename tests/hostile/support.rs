//! Stores in folders of their own, what is told about them, and a few jobs.

use std::{
    future::Future,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use bgjob::{
    Clock, DispatcherHandle, Error, ErrorKind, Event, JobDispatcher, JobId, JobManager, JobSpec,
    JobStore, Json, Outcome, Owner, Registry, Want, job as job_attribute,
    job::{Due, Grant, NewJob, Serves, Token},
    providers::{
        file::FileDocuments,
        memory::MemoryStore,
        sqlite::{SqliteOptions, SqliteStore},
    },
    store::Documents,
    testing::TokioClock,
};
use tokio::sync::Notify;

/// Says what it is given.
#[job_attribute(name = "echo")]
pub(crate) async fn echo(n: u32) -> Outcome<u32> {
    Outcome::Success(n)
}

/// A folder of one test's own, gone with it.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        let path = std::env::temp_dir().join(format!("bgjob-hostile-{}", JobId::new()));
        std::fs::create_dir(&path).expect("the folder for temporary files can be written");
        Self(path)
    }

    /// Something within it.
    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What can't be removed is the system's to clean up.
        std::fs::remove_dir_all(&self.0).ok();
    }
}

/// Every event, in words, and waited for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Told(Arc<(Mutex<Vec<String>>, Notify)>);

impl Told {
    pub(crate) fn listener(&self) -> impl Fn(&Event<'_>) + Send + Sync + 'static {
        let inner = Arc::clone(&self.0);
        move |event| {
            inner.0.lock().unwrap().push(format!("{event:?}"));
            inner.1.notify_waiters();
        }
    }

    /// All that say this.
    pub(crate) fn all(&self, says: &str) -> Vec<String> {
        let told = self.0.0.lock().unwrap();
        told.iter().filter(|t| t.contains(says)).cloned().collect()
    }

    /// Waits until one says this, and answers it.
    pub(crate) async fn wait(&self, says: &str) -> String {
        let found = async {
            loop {
                let mut news = std::pin::pin!(self.0.1.notified());
                news.as_mut().enable();
                if let Some(found) = self.all(says).into_iter().next() {
                    return found;
                }
                news.await;
            }
        };
        match tokio::time::timeout(Duration::from_secs(60), found).await {
            Ok(found) => found,
            Err(_) => panic!("nobody said {says:?}"),
        }
    }
}

/// What should come soon; a test that fails shall not hang.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), what)
        .await
        .expect("it comes soon")
}

/// A manager of a memory store, in paused time.
pub(crate) fn memory() -> JobManager {
    let store = MemoryStore::with_clock(Arc::new(TokioClock::new()));
    manager(store)
}

pub(crate) fn manager(store: impl JobStore + 'static) -> JobManager {
    let built = JobManager::builder(store).build();
    built.expect("the settings are the usual ones")
}

/// A dispatcher of these jobs and of `echo`.
pub(crate) async fn dispatch(
    jobs: &JobManager,
    registry: Registry,
    told: &Told,
) -> DispatcherHandle {
    let builder = JobDispatcher::builder(jobs)
        .registry(registry.with::<echo>())
        .without_lease_thread()
        .on_event(told.listener());
    builder.start().await.expect("the dispatcher starts")
}

/// Each of the stores, at this clock, in this folder.
pub(crate) async fn stores(folder: &Folder, clock: Arc<dyn Clock>) -> Vec<Arc<dyn JobStore>> {
    let sqlite: SqliteStore = SqliteOptions::new(folder.join("jobs.db"))
        .clock(Arc::clone(&clock))
        .open()
        .await
        .expect("a database can be made");
    let file = FileDocuments::with_clock(folder.join("files"), Arc::clone(&clock)).await;
    vec![
        Arc::new(MemoryStore::with_clock(clock)),
        Arc::new(sqlite),
        Arc::new(Documents::new(file.expect("a folder can be made"))),
    ]
}

/// A job of this name as the store sees it.
pub(crate) fn new(name: &str, change: impl FnOnce(&mut JobSpec)) -> NewJob {
    let mut spec = JobSpec::new(name, Json::null());
    change(&mut spec);
    NewJob::new(JobId::new(), Arc::new(spec), Due::Now)
}

pub(crate) fn grant() -> Grant {
    Grant::new(Token::random(), Owner::random(), Duration::from_secs(30))
}

pub(crate) fn serves(name: &str) -> Serves {
    Serves::new(Arc::new([(name.into(), 0)].into())).suspect(true)
}

pub(crate) fn want(max: usize) -> [Want; 1] {
    [Want::new(JobSpec::QUEUE, max)]
}

/// The error must be of this kind and say all of this.
#[track_caller]
pub(crate) fn says(error: &Error, kind: ErrorKind, all: &[&str]) {
    assert_eq!(error.kind(), kind, "{error:?}");
    let text = error.to_string();
    for says in all {
        assert!(text.contains(says), "{says:?} is not in {text}");
    }
    assert!(!text.chars().any(char::is_control), "{text:?}");
}

/// Nothing that came before has stopped the others.
pub(crate) async fn check_others(jobs: &JobManager) {
    let job = echo::enqueue(jobs, 1).await.unwrap();
    assert_eq!(job.result().await.unwrap(), 1);
}
