//! Stores in files and folders: where they lie, whatever folder the program goes to, and who may
//! read them. In processes of their own, as a folder and a mask are a whole process's.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use bgjob::{Error, ErrorKind, JobId, JobManager, job};

/// How a process of these tests knows that it is one, and which folder it works in.
const FOLDER: &str = "BGJOB_TEST_FOLDER";

#[job]
async fn echo(n: u32) -> Result<u32, bgjob::JobError> {
    Ok(n)
}

/// A folder of one test's own, gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("bgjob-folders-{}", JobId::new()));
        fs::create_dir(&path).expect("the folder for temporary files can be written");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What can't be removed is the system's to clean up.
        fs::remove_dir_all(&self.0).ok();
    }
}

/// The folder that this process is to work in, if it is one of these tests'.
fn folder() -> Option<PathBuf> {
    std::env::var_os(FOLDER).map(PathBuf::from)
}

/// Runs a test of this file in a process with a usual mask, in a folder of its own.
fn apart(test: &str) {
    let folder = Folder::new();
    let me = std::env::current_exe().expect("it has a path");
    let done = Command::new("sh")
        .args(["-c", "umask 022; exec \"$0\" \"$@\""])
        .arg(me)
        .args(["--exact", test, "--nocapture"])
        .env(FOLDER, &folder.0)
        .output()
        .expect("there is a shell");
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(
        done.status.success() && said.contains("1 passed"),
        "{said}\n{}",
        String::from_utf8_lossy(&done.stderr)
    );
}

async fn count(jobs: &JobManager) -> usize {
    let listed = jobs.list().limit(100).await.expect("it answers");
    listed.jobs.len()
}

#[tokio::test]
async fn process_that_changes_its_folder() {
    let Some(folder) = folder() else { return };
    let (one, two) = (folder.join("one"), folder.join("two"));
    for name in ["sqlite:jobs", "file:jobs"] {
        for place in [&one, &two] {
            fs::create_dir_all(place).expect("it is ours");
        }
        // The other folder has a store of that name too, with two jobs.
        std::env::set_current_dir(&two).expect("it is there");
        let other = JobManager::connect(name).await.expect("it can be made");
        for n in 0..2 {
            echo::enqueue(&other, n).await.expect("it is stored");
        }
        std::env::set_current_dir(&one).expect("it is there");
        let jobs = JobManager::connect(name).await.expect("it can be made");
        let first = echo::enqueue(&jobs, 1).await.expect("it is stored");
        std::env::set_current_dir(&two).expect("it is there");
        for n in 2..5 {
            let sent = echo::enqueue(&jobs, n).await;
            sent.unwrap_or_else(|error| panic!("{name}: {error:?}"));
        }
        first.status().await.expect("it is where it was");
        assert_eq!(count(&jobs).await, 4, "{name}");
        assert_eq!(
            count(&other).await,
            2,
            "{name}: the other store is as it was"
        );
        drop((jobs, other));
        fs::remove_dir_all(&one).expect("nobody holds it");
        fs::remove_dir_all(&two).expect("nobody holds it");
        std::env::set_current_dir(&folder).expect("it is there");
    }
}

#[test]
fn a_store_stays_where_it_was_opened() {
    apart("process_that_changes_its_folder");
}

#[cfg(unix)]
#[tokio::test]
async fn process_that_makes_a_database() {
    use std::os::unix::fs::PermissionsExt;
    let mode = |path: &Path| {
        let data = fs::metadata(path);
        let data = data.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        data.permissions().mode() & 0o777
    };
    let Some(folder) = folder() else { return };
    let plain = folder.join("plain");
    fs::write(&plain, "").expect("it is ours");
    assert_eq!(mode(&plain), 0o644, "the mask is the usual one");
    let url = |name: &str| format!("sqlite:{}", folder.join(name).display());
    let jobs = JobManager::connect(url("jobs.db"))
        .await
        .expect("it can be made");
    echo::enqueue(&jobs, 1).await.expect("it is stored");
    for file in ["jobs.db", "jobs.db-wal", "jobs.db-shm"] {
        assert_eq!(mode(&folder.join(file)), 0o600, "{file}");
    }
    // One that was there keeps its mode: others may be meant to read it.
    let shared = JobManager::connect(url("plain"))
        .await
        .expect("it is empty");
    echo::enqueue(&shared, 1).await.expect("it is stored");
    assert_eq!(mode(&plain), 0o644);
}

#[cfg(unix)]
#[test]
fn a_new_database_is_its_owners_alone() {
    apart("process_that_makes_a_database");
}

#[tokio::test]
async fn what_is_no_path_of_a_database_is_refused_by_name() {
    let folder = Folder::new();
    let inside = |rest: &str| format!("sqlite:{}{rest}", folder.0.display());
    for (url, says) in [
        ("sqlite:file:jobs.db".to_owned(), "sqlite:jobs.db"),
        (
            "sqlite:file:///tmp/x.db?mode=rwc".to_owned(),
            "leave its `file:` out",
        ),
        ("sqlite:nothing/".to_owned(), "that of a folder"),
        (inside("/"), "that of a folder"),
        (inside(""), "that of a folder"),
        ("sqlite::memory:".to_owned(), "`memory:`"),
        ("postgres://h/d?schema=x".to_owned(), "`?bgjob.schema`"),
    ] {
        let error: Error = JobManager::connect(&*url).await.expect_err(&url);
        assert!(!error.is_retryable(), "{url}: {error:?}");
        assert!(error.to_string().contains(says), "{url}: {error:?}");
    }
    assert!(!Path::new("jobs.db").exists(), "nothing was made");
    let entries = fs::read_dir(&folder.0).expect("it is there").count();
    assert_eq!(entries, 0, "nothing was made");
    use bgjob::providers::sqlite::SqliteStore;
    for path in ["", ":memory:"] {
        let opened = SqliteStore::open(path).await;
        let kind = opened.expect_err("it is none").kind();
        assert!(matches!(
            kind,
            ErrorKind::InvalidInput | ErrorKind::Unsupported
        ));
    }
}

/// Runs a future on this thread, with no runtime at all.
fn alone<F: Future>(work: F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = std::sync::Arc::new(Unpark(std::thread::current())).into();
    let mut context = std::task::Context::from_waker(&waker);
    let mut work = std::pin::pin!(work);
    loop {
        match work.as_mut().poll(&mut context) {
            std::task::Poll::Ready(done) => return done,
            std::task::Poll::Pending => std::thread::park(),
        }
    }
}

#[test]
fn without_a_runtime_jobs_are_stored_or_there_is_an_error() {
    let folder = Folder::new();
    let sqlite = format!("sqlite:{}", folder.0.join("jobs.db").display());
    let files = format!("file:{}", folder.0.join("jobs").display());
    for url in ["memory:", &sqlite, &files] {
        alone(async {
            let jobs = JobManager::connect(url).await.expect("it can be made");
            echo::enqueue(&jobs, 1).await.expect("it is stored");
            assert_eq!(count(&jobs).await, 1, "{url}");
        });
    }
    let opened = alone(JobManager::connect("postgres://127.0.0.1:1/db").into_future());
    let error = opened.expect_err("it needs one");
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
}
