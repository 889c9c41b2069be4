//! A disk that is full.
//!
//! Tables, or a whole server, get a disk of their own: a file system of some MiB that the test
//! mounts, in a mount namespace that ends with it. For that it runs itself again as a process.
//! Where that is not allowed nothing is shown, and the output says so.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
};

use bgjob::{DispatcherHandle, Error, ErrorKind, JobId, JobManager};

use crate::{
    servers::postgres::Server,
    support::{Told, dispatcher, run_at, soon, tell},
};

/// Tells a process of this test where its disk is.
const DISK: &str = "BGJOB_TEST_DISK";

/// How a process comes to a disk that can be filled. The server is another user.
const MOUNT: &str = r#"mount -t tmpfs -o size=$SIZE,mode=777 none "$0" && exec "$@""#;

/// A folder gone with the test.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        // What can't be removed is the system's to clean up.
        fs::remove_dir_all(&self.0).ok();
    }
}

/// Runs a test of this file in a process with a disk of its own.
fn run_apart(test: &str, size: &str) {
    let disk = Folder(env::temp_dir().join(format!("bgjob-disk-{}", JobId::new())));
    fs::create_dir(&disk.0).expect("the folder for temporary files can be written");
    let apart = || {
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", MOUNT]).arg(&disk.0);
        command.env("SIZE", size);
        command
    };
    let trial = apart()
        .arg("true")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if !trial.is_ok_and(|status| status.success()) {
        println!("{test}: left out, as no disk can be mounted here");
        return;
    }
    let output = apart()
        .arg(env::current_exe().expect("the test has a path"))
        .args(["--exact", test, "--nocapture"])
        .env(DISK, &disk.0)
        .output()
        .expect("it can be run again");
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{errors}");
    assert!(text.contains("1 passed"), "{test} has another name: {text}");
}

/// The disk of this process, if it is one that was started for a test.
fn disk() -> Option<PathBuf> {
    env::var_os(DISK).map(PathBuf::from)
}

#[test]
fn a_full_disk_is_named_and_loses_nothing() {
    run_apart("disks::process_that_fills_a_disk", "8m");
}

#[test]
fn a_disk_that_is_full_with_the_servers_log_too_loses_nothing() {
    run_apart("disks::process_that_fills_the_only_disk", "112m");
}

/// Enqueues until there is no more room; answers the error.
async fn fill(jobs: &JobManager, stored: &mut Vec<JobId>) -> Error {
    let mut dice = fastrand::Rng::with_seed(1);
    loop {
        // What could be compressed would take no room.
        let ballast: String = (0..16_000).map(|_| dice.alphanumeric()).collect();
        let job = tell::enqueue(jobs, stored.len() as u64).header("ballast", ballast);
        match job.await {
            Ok(job) => stored.push(job.id()),
            Err(error) => return error,
        }
        assert!(stored.len() < 3_000, "no disk here is so large");
    }
}

/// Runs all that was stored, and then it is over.
async fn run_all(jobs: &JobManager, stored: &[JobId], running: DispatcherHandle, told: &Told) {
    for (n, id) in (0..).zip(stored) {
        let handle = jobs.handle::<u64>(*id);
        let result = soon(handle.result()).await;
        assert_eq!(result.expect("it succeeded"), n);
    }
    assert!(running.health().is_good());
    running.shutdown().await;
    told.each_once(stored.len() as u64);
    let counts = jobs.counts().await.expect("it answers");
    assert_eq!(counts.len(), 1);
    assert_eq!(counts[0].succeeded, stored.len() as u64);
    assert_eq!(counts[0].total(), counts[0].succeeded);
}

/// Makes a server whose tables are on this disk.
async fn serve(disk: &Path) -> Server {
    let server = Server::start(&[]);
    let folder = disk.join("tables");
    fs::create_dir(&folder).expect("the disk is ours");
    let owned = Command::new("chown").arg("postgres").arg(&folder).status();
    assert!(owned.is_ok_and(|owned| owned.success()));
    // Each in a transaction of its own, as the first demands it.
    for sql in [
        format!("CREATE TABLESPACE small LOCATION '{}'", folder.display()),
        "ALTER ROLE postgres SET default_tablespace = small".to_owned(),
    ] {
        run_at(&server.url(), sql).await;
    }
    server
}

/// What a test above starts; by itself it has no disk and does nothing.
#[tokio::test(flavor = "multi_thread")]
async fn process_that_fills_a_disk() {
    let Some(disk) = disk() else {
        return;
    };
    let server = serve(&disk).await;
    let ballast = disk.join("ballast");
    fs::write(&ballast, vec![1; 4 << 20]).expect("it is empty");
    let jobs = JobManager::connect(server.url()).await.expect("it runs");
    let mut stored = Vec::new();
    let error = fill(&jobs, &mut stored).await;
    assert!(stored.len() > 50, "{}", stored.len());
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    let unstored = error.job_id().expect("it says which it was about");
    for error in [error, fill(&jobs, &mut stored).await] {
        let text = error.to_string();
        assert!(text.contains("full: free some space"), "{text}");
    }
    // Somebody frees some space, with a dispatcher at work.
    let told = Arc::<Told>::default();
    let running = dispatcher(&jobs, &told).start().await.expect("it starts");
    soon(told.until_down()).await;
    fs::remove_file(&ballast).expect("it is there");
    let repeated = tell::enqueue(&jobs, stored.len() as u64).id(unstored);
    stored.push(repeated.await.expect("there is room").id());
    run_all(&jobs, &stored, running, &told).await;
}

/// What a test above starts; by itself it has no disk and does nothing.
#[tokio::test(flavor = "multi_thread")]
async fn process_that_fills_the_only_disk() {
    let Some(disk) = disk() else {
        return;
    };
    let server = Server::start_in(&disk, &["max_wal_size=32MB", "min_wal_size=32MB"]);
    let jobs = JobManager::connect(server.url()).await.expect("it runs");
    let ballast = disk.join("ballast");
    // Less than the next file of its write-ahead log takes: without that the server can do nothing,
    // and may stop and try to come back until there is room.
    let left = free(&disk) - (13 << 20);
    fs::write(&ballast, vec![1; left]).expect("there is as much");
    let mut stored = Vec::new();
    let error = fill(&jobs, &mut stored).await;
    let unstored = error.job_id().expect("it says which it was about");
    for error in [error, fill(&jobs, &mut stored).await] {
        assert!(error.is_retryable(), "{error:?}");
    }
    let told = Arc::<Told>::default();
    let running = dispatcher(&jobs, &told).start().await.expect("it starts");
    fs::remove_file(&ballast).expect("it is there");
    let repeated = loop {
        let again = tell::enqueue(&jobs, stored.len() as u64).id(unstored);
        match soon(again.into_future()).await {
            Err(error) => assert!(error.is_retryable(), "{error:?}"),
            done => break done.expect("there is room"),
        }
        tokio::task::yield_now().await;
    };
    stored.push(repeated.id());
    run_all(&jobs, &stored, running, &told).await;
}

/// How many bytes fit onto a disk.
fn free(disk: &Path) -> usize {
    let output = Command::new("df")
        .args(["--output=avail", "-B1"])
        .arg(disk)
        .output();
    let output = output.expect("`df` is there").stdout;
    let text = String::from_utf8_lossy(&output);
    let bytes = text.lines().last().map(|line| line.trim().parse());
    bytes
        .expect("it prints a line")
        .expect("it prints a number")
}
