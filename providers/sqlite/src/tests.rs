//! What the conformance suite can't see: the file, the threads, and the query plans.

#![allow(
    clippy::unwrap_used,
    reason = "a test that unwraps nothing fails, as it should"
)]

mod kinds;
mod unreadable;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use rusqlite::{Connection, StatementStatus, TransactionBehavior, types::Value};

use bgjob_core::{
    ErrorKind, SystemClock,
    job::{Due, JobSpec, Json, Token, transition::REMEMBERED},
};

use super::{value::Sql, *};

/// A folder for one test. The drop deletes it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("bgjob-sqlite-{}", JobId::new()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn db(&self) -> PathBuf {
        self.0.join("jobs.db")
    }

    async fn store(&self) -> SqliteStore {
        SqliteStore::open(self.db()).await.unwrap()
    }

    /// A connection of another program's, which bgjob knows nothing of.
    fn stranger(&self) -> Connection {
        Connection::open(self.db()).unwrap()
    }

    fn change(&self, sql: &str) {
        self.stranger().execute_batch(sql).unwrap();
    }

    /// The values of one row, as text.
    fn row(&self, query: &str) -> String {
        let db = self.stranger();
        let mut statement = db.prepare(query).unwrap();
        let columns = statement.column_count();
        let row = statement.query_row([], |row| {
            let values = (0..columns).map(|n| row.get(n));
            values.collect::<rusqlite::Result<Vec<Value>>>()
        });
        let text = |value: Value| match value {
            Value::Text(text) => text,
            value => format!("{value:?}"),
        };
        let texts: Vec<_> = row.unwrap().into_iter().map(text).collect();
        texts.join(",")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

fn new(metadata: &str, retain: u64) -> NewJob {
    let mut spec = JobSpec::new("greet", Json::trusted(metadata));
    spec.retain = Duration::from_secs(retain);
    NewJob::new(JobId::new(), spec, Due::Now)
}

fn serves() -> Serves {
    Serves::new(Arc::new(BTreeMap::from([("greet".into(), 0)]))).suspect(true)
}

fn grant() -> Grant {
    Grant::new(Token::random(), Owner::random(), Duration::from_secs(30))
}

fn want(max: usize) -> [Want; 1] {
    [Want::new("default", max)]
}

fn refused(opened: Result<SqliteStore>, kind: ErrorKind, says: &str) {
    let error = opened.expect_err(says);
    assert_eq!(error.kind(), kind, "{error:?}");
    assert!(error.to_string().contains(says), "{error}");
}

#[tokio::test]
async fn a_newer_schema_is_refused_with_advice() {
    let folder = Folder::new();
    drop(folder.store().await);
    folder
        .stranger()
        .execute("INSERT INTO bgjob_schema VALUES(99, 0)", [])
        .unwrap();
    let opened = SqliteStore::open(folder.db()).await;
    refused(opened, ErrorKind::Unsupported, "upgrade this program");
}

#[tokio::test]
async fn what_is_no_database_is_refused() {
    let folder = Folder::new();
    std::fs::write(
        folder.db(),
        "no database, but long enough to be mistaken for one".repeat(99),
    )
    .unwrap();
    let opened = SqliteStore::open(folder.db()).await;
    refused(opened, ErrorKind::InvalidInput, "not an SQLite database");
    let opened = SqliteStore::open(folder.0.join("none/jobs.db")).await;
    refused(opened, ErrorKind::Unavailable, "folder exists");
}

#[tokio::test]
async fn a_database_is_used_beside_tables_of_others() {
    let folder = Folder::new();
    folder
        .stranger()
        .execute_batch("CREATE TABLE jobs(x); INSERT INTO jobs VALUES(7)")
        .unwrap();
    let store = folder.store().await;
    store.create(&[new("1", 0)]).await.unwrap();
    let seven = folder
        .stranger()
        .query_row("SELECT x FROM jobs", [], |row| row.get(0));
    assert_eq!(seven, Ok(7));
}

#[tokio::test]
async fn a_file_that_was_moved_is_missed_and_found_again() {
    let folder = Folder::new();
    let store = folder.store().await;
    let job = new("1", 0);
    store.create(std::slice::from_ref(&job)).await.unwrap();
    let aside = folder.0.join("aside");
    std::fs::rename(folder.db(), &aside).unwrap();
    for error in [
        store.create(&[new("2", 0)]).await.unwrap_err(),
        store.get(&[job.id]).await.unwrap_err(),
        store.create(&[new("3", 0)]).await.unwrap_err(),
    ] {
        assert!(error.is_retryable(), "{error:?}");
        let text = error.to_string();
        assert!(
            text.contains("moved or deleted") && text.contains("jobs.db"),
            "{text}"
        );
    }
    assert!(
        !Path::new(&folder.db()).exists(),
        "nothing takes its place in secret"
    );
    std::fs::rename(&aside, folder.db()).unwrap();
    assert!(store.get(&[job.id]).await.unwrap()[0].is_some());
    assert_eq!(store.create(&[job]).await.unwrap(), [Created::Exists]);
}

#[tokio::test]
async fn options_reach_sqlite() {
    let folder = Folder::new();
    for (sync, value, durability) in [
        (Sync::Full, 2, Durability::OsCrash),
        (Sync::Normal, 1, Durability::ProcessCrash),
    ] {
        let store = SqliteOptions::new(folder.db())
            .sync(sync)
            .open()
            .await
            .unwrap();
        assert_eq!(store.capabilities().durability, durability);
        let pragma = |name: &'static str| {
            store.writer.call(1, move |tx| {
                tx.db
                    .pragma_query_value(None, name, |row| row.get::<_, rusqlite::types::Value>(0))
            })
        };
        assert_eq!(pragma("synchronous").await.unwrap(), value.into());
        assert_eq!(
            pragma("journal_mode").await.unwrap(),
            "wal".to_owned().into()
        );
    }
}

/// Makes calls while the writer waits for another connection's lock, so that the calls gather.
/// Returns their answers.
async fn gathered<T>(folder: &Folder, store: &SqliteStore, calls: impl Future<Output = T>) -> T {
    let stranger = folder.stranger();
    stranger.execute_batch("BEGIN IMMEDIATE").unwrap();
    // This call counts as a full transaction, so it is alone in the transaction that waits.
    let first = store.writer.call(usize::MAX, |_| Ok(()));
    let commit = async { stranger.execute_batch("COMMIT").unwrap() };
    let (first, calls, ()) = tokio::join!(biased; first, calls, commit);
    first.unwrap();
    calls
}

#[tokio::test]
async fn urgent_calls_go_first_and_dropped_ones_not_at_all() {
    let folder = Folder::new();
    let store = folder.store().await;
    let notes = Mutex::default();
    let notes: &Mutex<Vec<&str>> = Box::leak(Box::new(notes));
    let note = |name| {
        move |_: &mut tx::Tx<'_>| {
            notes.lock().unwrap().push(name);
            Ok(())
        }
    };
    let dropped = async {
        tokio::select! {
            biased;
            _ = store.writer.call(1, note("dropped")) => {}
            () = std::future::ready(()) => {}
        }
    };
    let calls = async {
        tokio::join!(
            biased;
            dropped,
            store.writer.call(1, note("slow")),
            store.writer.urgent(1, note("urgent")),
        )
    };
    let ((), slow, urgent) = gathered(&folder, &store, calls).await;
    assert!(slow.is_ok() && urgent.is_ok());
    assert_eq!(*notes.lock().unwrap(), ["urgent", "slow"]);
}

#[tokio::test]
async fn a_call_that_fails_does_not_hurt_those_it_shares_a_transaction_with() {
    let folder = Folder::new();
    let store = folder.store().await;
    folder
        .stranger()
        .execute_batch(
            "CREATE TRIGGER poison BEFORE INSERT ON bgjob_jobs WHEN NEW.metadata = '\"poison\"'
             BEGIN SELECT RAISE(ABORT, 'refused'); END",
        )
        .unwrap();
    let (a, b, c) = ([new("1", 0)], [new("\"poison\"", 0)], [new("2", 0)]);
    let calls = async { tokio::join!(store.create(&a), store.create(&b), store.create(&c)) };
    let (before, bad, after) = gathered(&folder, &store, calls).await;
    assert_eq!(before.unwrap(), [Created::Created]);
    assert_eq!(bad.unwrap_err().kind(), ErrorKind::Internal);
    assert_eq!(after.unwrap(), [Created::Created]);
    assert_eq!(
        store
            .list(&Filter::default(), &Slice::first(9))
            .await
            .unwrap()
            .jobs
            .len(),
        2
    );
}

#[tokio::test]
async fn a_panic_is_an_error_and_the_next_call_works() {
    let folder = Folder::new();
    let store = folder.store().await;
    let error = store
        .writer
        .call(1, |_| -> rusqlite::Result<()> { panic!("on purpose") })
        .await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Internal);
    let error = store
        .reader
        .call(|_| -> rusqlite::Result<()> { panic!("on purpose") })
        .await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Internal);
    assert_eq!(
        store.create(&[new("1", 0)]).await.unwrap(),
        [Created::Created]
    );
    assert_eq!(store.counts().await.unwrap().len(), 1);
}

#[tokio::test]
async fn lanes_of_a_transaction_that_was_undone_are_forgotten() {
    let folder = Folder::new();
    let store = folder.store().await;
    let undone = store.writer.call(1, |tx| {
        tx.lanes.intern(tx.db, &new("1", 0).spec)?;
        Err::<(), _>(rusqlite::Error::QueryReturnedNoRows)
    });
    assert!(undone.await.is_err());
    store.create(&[new("1", 0)]).await.unwrap();
    let claimed = store
        .claim_ready(&want(9), &grant(), &serves())
        .await
        .unwrap();
    assert_eq!(claimed.jobs.len(), 1);
}

#[tokio::test]
async fn the_index_for_hints_comes_with_the_first_queue() {
    let folder = Folder::new();
    let store = folder.store().await;
    let indexes = || -> i64 {
        let query = "SELECT count(*) FROM sqlite_schema WHERE name = 'bgjob_ready_touch'";
        folder
            .stranger()
            .query_row(query, [], |row| row.get(0))
            .unwrap()
    };
    let mut policy = SweepPolicy::default();
    store.sweep(9, &policy).await.unwrap();
    assert_eq!(indexes(), 0);
    policy.touch = Some(SweepPolicy::TOUCH);
    store.sweep(9, &policy).await.unwrap();
    assert_eq!(indexes(), 1);
}

/// A claim must find its jobs by walking an index in order: no scan, no sort.
#[tokio::test]
async fn claims_walk_an_index() {
    let folder = Folder::new();
    drop(folder.store().await);
    let stranger = folder.stranger();
    let plan = |sql: &str| {
        let mut plan = stranger
            .prepare(&format!("EXPLAIN QUERY PLAN {sql}"))
            .unwrap();
        let count = plan.parameter_count();
        let values = rusqlite::params_from_iter(vec![0; count]);
        let rows = plan
            .query_map(values, |row| row.get::<_, String>(3))
            .unwrap();
        rows.map(|row| row.unwrap()).collect::<Vec<_>>()
    };
    for sql in claim::WALKS {
        let plan = plan(sql);
        let walks = |step: &String| step.starts_with("SEARCH");
        assert!(
            !plan.is_empty() && plan.iter().all(walks),
            "{sql}: {plan:?}"
        );
        assert!(
            plan[0].contains("lane=? AND suspect=? AND rank=?"),
            "{sql}: {plan:?}"
        );
    }
}

#[tokio::test]
async fn claims_are_planned_once() {
    let folder = Folder::new();
    let store = folder.store().await;
    for max in 1..5 {
        store.create(&[new("1", 0)]).await.unwrap();
        store
            .claim_ready(&want(max), &grant(), &serves())
            .await
            .unwrap();
    }
    let planned_again = store.writer.call(1, |tx| {
        let again = |sql| {
            Ok(tx
                .db
                .prepare_cached(sql)?
                .get_status(StatementStatus::RePrepare))
        };
        claim::WALKS
            .into_iter()
            .map(again)
            .collect::<rusqlite::Result<Vec<_>>>()
    });
    assert_eq!(planned_again.await.unwrap(), [0; claim::WALKS.len()]);
}

#[test]
fn ids_are_remembered_for_their_time_whenever_others_are_forgotten() {
    let db = &mut Connection::open_in_memory().unwrap();
    schema::migrate(db, Timestamp::MIN).unwrap();
    let tx = db
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .unwrap();
    let minutes = |n: u64| Timestamp::from_millis(1_700_000_000_000) + Duration::from_secs(60 * n);
    let ids: Vec<_> = (0..40).map(|_| JobId::new()).collect();
    for (nth, id) in (0..).zip(&ids) {
        let now = minutes(nth);
        gone::Gone::clear(&tx, now).unwrap();
        let until = now + REMEMBERED;
        gone::Gone::remembers(&tx, now)
            .unwrap()
            .execute((Sql(*id), Sql(until)))
            .unwrap();
        let held = |id: &JobId| gone::Gone::default().holds(&tx, *id, now).unwrap();
        let remembered: Vec<_> = ids.iter().filter(|id| held(id)).collect();
        let from = usize::try_from(nth.saturating_sub(4)).unwrap();
        assert_eq!(
            remembered,
            ids[from..=nth as usize].iter().collect::<Vec<_>>()
        );
    }
    let tables = ["bgjob_gone_0", "bgjob_gone_1", "bgjob_gone_2"];
    let rows = tables.map(|table| -> usize {
        tx.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| {
            row.get(0)
        })
        .unwrap()
    });
    assert!(
        rows.iter().sum::<usize>() <= 15,
        "old ones are gone: {rows:?}"
    );
}

#[test]
fn the_default_clock_is_that_of_the_host() {
    let before = SystemClock.now();
    assert!(SqliteOptions::new("x").clock.now() >= before);
}
