//! Disks that are full, and folders that can't be written.
//!
//! A test runs itself again as a process with a disk of its own: a file system of one MiB that it
//! mounts, in a mount namespace that ends with it. Where that is not allowed, a limit on the size
//! of files (and permissions, unless root is exempt from them) takes its place, and the output says
//! so.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
};

use bgjob::{
    Error, ErrorKind, JobId, JobManager, JobState, JobStore, Registry,
    providers::{file::FileStore, sqlite::SqliteStore},
};

use crate::support::{Folder, Told, dispatch, echo, manager, says, soon};

/// Tells a process of these tests where its disk is.
const DISK: &str = "BGJOB_TEST_DISK";
/// Set where the disk has no end, but files have.
const LIMITED: &str = "BGJOB_TEST_FILES_LIMITED";

/// How a process comes to a disk that can be filled.
const MOUNT: &str = r#"mount -t tmpfs -o size=1m,mode=700 none "$0" && exec "$@""#;
/// The same without a disk: writes past a file's limit fail, and the signal for it is ignored.
const LIMIT: &str = r#"trap '' XFSZ; ulimit -f 600; exec "$@""#;

/// Runs a test of this file in a process with a disk of its own.
fn run_apart(test: &str) {
    let folder = Folder::new();
    let disk = folder.path();
    let may_mount = |user: bool| {
        let mut unshare = Command::new("unshare");
        unshare.arg("--mount");
        if user {
            unshare.args(["--user", "--map-root-user"]);
        }
        unshare
    };
    let mounts = |user: &bool| {
        let mut trial = may_mount(*user);
        trial.args(["sh", "-c", MOUNT]).arg(disk).arg("true");
        let done = trial.stdout(Stdio::null()).stderr(Stdio::null()).status();
        done.is_ok_and(|status| status.success())
    };
    let mut command = match [false, true].into_iter().find(mounts) {
        Some(user) => {
            let mut command = may_mount(user);
            command.args(["sh", "-c", MOUNT]);
            command
        }
        None => {
            println!("{test}: no disk can be mounted here, so files are limited instead");
            let mut command = Command::new("sh");
            command.args(["-c", LIMIT]).env(LIMITED, "1");
            command
        }
    };
    let output = command
        .arg(disk)
        .arg(env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--include-ignored"])
        .env(DISK, disk)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{errors}");
    assert!(text.contains("1 passed"), "{test} has another name: {text}");
}

/// The disk of this process, if it is one that was started for a test.
fn disk() -> Option<PathBuf> {
    env::var_os(DISK).map(PathBuf::from)
}

async fn open(name: &str, disk: &Path) -> bgjob::Result<JobManager> {
    let store: Arc<dyn JobStore> = match name {
        "sqlite" => Arc::new(SqliteStore::open(disk.join("jobs.db")).await?),
        _ => Arc::new(FileStore::open(disk.join("jobs")).await?),
    };
    Ok(manager(store))
}

/// Enqueues until there is no more room. Answers what was acknowledged, and the error.
async fn fill(jobs: &JobManager) -> (Vec<JobId>, Error) {
    let mut stored = Vec::new();
    loop {
        let job = jobs
            .enqueue_raw("echo", 7)
            .header("ballast", "x".repeat(8_000));
        match job.await {
            Ok(job) => stored.push(job.id()),
            Err(error) => return (stored, error),
        }
        assert!(stored.len() < 1_000, "the disk is of one MiB");
    }
}

/// Where files are limited instead: a document is a file, and this one is too large.
async fn outgrows(jobs: &JobManager, disk: &Path) {
    let builder = JobManager::builder(Arc::clone(jobs.store()));
    let jobs = &builder.max_metadata(1_048_576).build().unwrap();
    let error = jobs.enqueue_raw("echo", "x".repeat(1_000_000)).await;
    let disk = disk.to_str().unwrap();
    says(
        &error.unwrap_err(),
        ErrorKind::Unavailable,
        &["failed", disk],
    );
    let told = Told::default();
    let running = dispatch(jobs, Registry::new(), &told).await;
    let job = jobs.enqueue_raw("echo", 7).await.unwrap();
    assert_eq!(
        soon(jobs.handle::<u32>(job.id()).result()).await.unwrap(),
        7
    );
    assert!(told.all("LoopFailed").is_empty());
    running.shutdown().await;
}

async fn fills_and_goes_on(name: &str) {
    let Some(disk) = disk() else {
        return;
    };
    let limited = env::var_os(LIMITED).is_some();
    let ballast = disk.join("ballast");
    if !limited {
        fs::write(&ballast, vec![1; 600_000]).unwrap();
    }
    let jobs = open(name, &disk).await.unwrap();
    if limited && name == "file" {
        return outgrows(&jobs, &disk).await;
    }
    let (mut stored, error) = fill(&jobs).await;
    assert!(stored.len() > 10, "{}", stored.len());
    let remedy = if limited {
        "failed"
    } else {
        "full: free some space"
    };
    says(
        &error,
        ErrorKind::Unavailable,
        &[remedy, disk.to_str().unwrap()],
    );
    assert!(error.is_retryable() && error.job_id().is_some());
    let told = Told::default();
    let again = jobs
        .enqueue_raw("echo", 7)
        .header("ballast", "x".repeat(8_000));
    says(&again.await.unwrap_err(), ErrorKind::Unavailable, &[remedy]);
    if limited {
        return;
    }
    // Somebody frees some space, with a dispatcher at work.
    let running = dispatch(&jobs, Registry::new(), &told).await;
    fs::remove_file(&ballast).unwrap();
    let repeated = jobs.enqueue_raw("echo", 7).id(error.job_id().unwrap());
    let repeated = repeated.header("ballast", "x".repeat(8_000)).await.unwrap();
    stored.push(repeated.id());
    for id in &stored {
        let handle = jobs.handle::<u32>(*id);
        assert_eq!(soon(handle.result()).await.unwrap(), 7);
    }
    assert!(told.all("LoopFailed").is_empty());
    assert!(running.health().is_good());
    running.shutdown().await;
    drop(jobs);
    let jobs = open(name, &disk).await.unwrap();
    for id in &stored {
        let job = jobs
            .get(*id)
            .await
            .unwrap()
            .expect("what was acknowledged is there");
        assert_eq!(job.state(), JobState::Succeeded);
    }
    assert_eq!(
        echo::enqueue(&jobs, 1)
            .await
            .unwrap()
            .status()
            .await
            .unwrap(),
        JobState::Ready
    );
}

#[test]
fn a_full_disk_is_named_and_loses_nothing() {
    run_apart("disks::process_that_fills_sqlite");
    run_apart("disks::process_that_fills_files");
}

/// What the test above starts; by itself it has no disk and does nothing.
#[tokio::test(flavor = "multi_thread")]
async fn process_that_fills_sqlite() {
    fills_and_goes_on("sqlite").await;
}

/// The same.
#[tokio::test(flavor = "multi_thread")]
async fn process_that_fills_files() {
    fills_and_goes_on("file").await;
}

/// Mounts the disk anew, to be read only or to be written too.
fn remount(disk: &Path, how: &str) {
    let status = Command::new("mount")
        .args(["-o", &format!("remount,{how}")])
        .arg(disk)
        .status();
    assert!(status.unwrap().success());
}

#[cfg(unix)]
fn chmod(path: &Path, folder: u32, file: u32) {
    use std::os::unix::fs::PermissionsExt;
    let is_dir = path.is_dir();
    if is_dir {
        let inside = fs::read_dir(path).unwrap();
        inside.for_each(|entry| chmod(&entry.unwrap().path(), folder, file));
    }
    let mode = if is_dir { folder } else { file };
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[cfg(unix)]
fn read_only(disk: &Path, on: bool) {
    match (env::var_os(LIMITED).is_some(), on) {
        (false, true) => remount(disk, "ro"),
        (false, false) => remount(disk, "rw"),
        (true, true) => chmod(disk, 0o500, 0o400),
        (true, false) => {
            chmod(disk, 0o700, 0o600);
        }
    }
}

/// What a process with a disk of its own does, started by the test below.
#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn process_that_may_only_read() {
    let Some(disk) = disk() else {
        return;
    };
    for (name, kind, says_all) in [
        (
            "sqlite",
            &[ErrorKind::InvalidInput, ErrorKind::Unavailable],
            ["jobs.db", "right to write|be written|written to"],
        ),
        (
            "file",
            &[ErrorKind::Unavailable, ErrorKind::Unavailable],
            ["jobs", "check the permissions"],
        ),
    ] {
        let jobs = open(name, &disk).await.unwrap();
        let kept = echo::enqueue(&jobs, 7).await.unwrap().id();
        drop(jobs);
        read_only(&disk, true);
        if fs::write(disk.join("probe"), "").is_ok() {
            println!("root may write everywhere here: {name} is not tried");
            read_only(&disk, false);
            continue;
        }
        let error = open(name, &disk).await.unwrap_err();
        assert!(kind.contains(&error.kind()), "{error:?}");
        let text = error.to_string();
        assert!(text.contains(says_all[0]), "{text}");
        assert!(
            says_all[1].split('|').any(|says| text.contains(says)),
            "{text}"
        );
        read_only(&disk, false);
        let jobs = open(name, &disk).await.unwrap();
        assert_eq!(
            jobs.get(kept).await.unwrap().unwrap().state(),
            JobState::Ready
        );
    }
}

#[cfg(unix)]
#[test]
fn what_may_only_be_read_is_refused_by_name_and_kept() {
    run_apart("disks::process_that_may_only_read");
}
