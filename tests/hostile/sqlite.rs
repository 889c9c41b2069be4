//! A database file that others lock, delete, replace or damage while a dispatcher works on it.

use std::{fs, path::Path, time::Duration};

use bgjob::{ErrorKind, JobState, Registry, providers::sqlite::SqliteStore};
use rusqlite::Connection;

use crate::support::{Folder, Told, dispatch, echo, manager, says, soon};

async fn open(path: &Path) -> bgjob::JobManager {
    manager(SqliteStore::open(path).await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_somebody_locks_is_waited_for_and_then_named() {
    let folder = Folder::new();
    let path = folder.join("jobs.db");
    let jobs = open(&path).await;
    let told = Told::default();
    let running = dispatch(&jobs, Registry::new(), &told).await;
    let before = echo::enqueue(&jobs, 1).await.unwrap();
    assert_eq!(soon(before.result()).await.unwrap(), 1);

    let stranger = Connection::open(&path).unwrap();
    stranger.execute_batch("BEGIN IMMEDIATE").unwrap();
    let begun = std::time::Instant::now();
    let id = bgjob::JobId::new();
    let error = echo::enqueue(&jobs, 2).id(id).await.unwrap_err();
    assert!(
        begun.elapsed() > Duration::from_secs(3),
        "others get time to end theirs"
    );
    let all = [
        "stayed locked",
        "another process holds a transaction",
        "jobs.db",
    ];
    says(&error, ErrorKind::Unavailable, &all);
    assert_eq!(error.job_id(), Some(id), "it can be repeated");
    // Who only reads is not held up.
    assert_eq!(before.status().await.unwrap(), JobState::Succeeded);
    let said = told.wait("Down").await;
    // A call that waits behind the enqueue is given up before it has waited for the lock itself.
    let named = said.contains("stayed locked") || said.contains("no answer within");
    assert!(named, "{said}");
    assert!(running.health().store_down_for.is_some());
    stranger.execute_batch("ROLLBACK").unwrap();

    let again = echo::enqueue(&jobs, 2).id(id).await.unwrap();
    assert_eq!(soon(again.result()).await.unwrap(), 2);
    told.wait("Up").await;
    assert!(told.all("LoopFailed").is_empty());
}

/// Takes the database away as somebody would who cleans up.
fn delete(path: &Path) {
    for end in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(format!("{}{end}", path.display()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_deleted_is_missed_by_name_and_a_copy_put_back_is_taken_up() {
    let folder = Folder::new();
    let path = folder.join("jobs.db");
    let jobs = open(&path).await;
    let kept = echo::enqueue(&jobs, 1).await.unwrap().id();
    drop(jobs);
    // A store that is closed leaves one file, which is a whole copy.
    let copy = fs::read(&path).unwrap();
    let jobs = open(&path).await;
    let told = Told::default();
    let running = dispatch(&jobs, Registry::new(), &told).await;
    assert_eq!(soon(jobs.handle::<u32>(kept).result()).await.unwrap(), 1);

    delete(&path);
    let all = [
        "the database file was moved or deleted",
        "put it back",
        "jobs.db",
    ];
    for _ in 0..3 {
        says(
            &echo::enqueue(&jobs, 2).await.unwrap_err(),
            ErrorKind::Unavailable,
            &all,
        );
        says(
            &jobs.get(kept).await.unwrap_err(),
            ErrorKind::Unavailable,
            &all,
        );
    }
    let said = told.wait("Down").await;
    assert!(
        said.contains("moved or deleted") && said.contains("jobs.db"),
        "{said}"
    );
    let health = running.health();
    assert!(
        health.store_down_for.is_some() && !health.is_good(),
        "{health:?}"
    );
    assert!(!path.exists(), "nothing takes its place in secret");

    fs::write(&path, copy).unwrap();
    told.wait("Up").await;
    // It was taken before the job had run, and so it runs again.
    assert_eq!(soon(jobs.handle::<u32>(kept).result()).await.unwrap(), 1);
    let next = echo::enqueue(&jobs, 3).await.unwrap();
    assert_eq!(soon(next.result()).await.unwrap(), 3);
    assert_eq!(told.all("Down").len(), 1, "it is told once");
    assert!(told.all("LoopFailed").is_empty());
}

/// A file in its place that is none of ours stays as it is.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_replaced_by_something_else_is_left_alone() {
    let folder = Folder::new();
    let path = folder.join("jobs.db");
    let jobs = open(&path).await;
    let told = Told::default();
    let _running = dispatch(&jobs, Registry::new(), &told).await;
    let first = echo::enqueue(&jobs, 1).await.unwrap();
    assert_eq!(soon(first.result()).await.unwrap(), 1);
    let others = "dear diary, ".repeat(1_000);
    for _ in 0..2 {
        delete(&path);
        fs::write(&path, &others).unwrap();
        // The first call learns that the file is gone. It may be one of the dispatcher's.
        let missed = echo::enqueue(&jobs, 2).await.unwrap_err();
        if missed.kind() != ErrorKind::InvalidInput {
            says(&missed, ErrorKind::Unavailable, &["moved or deleted"]);
        }
        let error = echo::enqueue(&jobs, 2).await.unwrap_err();
        says(
            &error,
            ErrorKind::InvalidInput,
            &["not an SQLite database", "jobs.db"],
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), others);
        // A database of somebody else's has none of our tables.
        delete(&path);
        let stranger = Connection::open(&path).unwrap();
        stranger.execute_batch("CREATE TABLE diary(day)").unwrap();
        let error = echo::enqueue(&jobs, 2).await.unwrap_err();
        says(&error, ErrorKind::Internal, &["jobs.db"]);
        drop(stranger);
        delete(&path);
        let _ = echo::enqueue(&jobs, 2).await.unwrap_err();
        drop(open(&path).await);
        let next = echo::enqueue(&jobs, 3).await.unwrap();
        // Who reads learns once that this is another file.
        let _ = next.status().await;
        assert_eq!(soon(next.result()).await.unwrap(), 3);
    }
    assert!(told.all("LoopFailed").is_empty());
}

/// One row that can't be read must not stop those beside it.
#[tokio::test(flavor = "multi_thread")]
async fn rows_that_somebody_edited_stop_nobody() {
    let folder = Folder::new();
    let path = folder.join("jobs.db");
    let jobs = open(&path).await;
    let handles = echo::enqueue_all(&jobs, 0..10).await.unwrap();
    let stranger = Connection::open(&path).unwrap();
    let edit = |sql: &str, nth: usize| {
        let id = handles[nth].id();
        assert_eq!(stranger.execute(sql, [id.as_bytes()]).unwrap(), 1, "{sql}");
    };
    edit(
        "UPDATE bgjob_jobs SET metadata = 'no JSON' WHERE id = ?1",
        1,
    );
    edit("UPDATE bgjob_jobs SET metadata = x'00ff' WHERE id = ?1", 2);
    edit("UPDATE bgjob_jobs SET history = '{' WHERE id = ?1", 3);
    edit("DELETE FROM bgjob_jobs WHERE id = ?1", 4);
    drop(stranger);
    let told = Told::default();
    let running = dispatch(&jobs, Registry::new(), &told).await;
    for n in [0, 5, 6, 7, 8, 9] {
        let result = soon(handles[n].result()).await.unwrap();
        assert_eq!(usize::try_from(result).unwrap(), n);
    }
    let next = echo::enqueue(&jobs, 7).await.unwrap();
    assert_eq!(soon(next.result()).await.unwrap(), 7);
    assert!(running.health().is_good());
    assert!(told.all("LoopFailed").is_empty());
}
