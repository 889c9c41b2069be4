//! A transaction that is held open: what was claimed since can't be removed, and claims begin
//! behind it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bgjob::{
    Due, JobId, JobSpec, JobStore, Json, Timestamp, Want,
    job::{End, Grant, NewJob, Owner, Serves, Token, transition::SweepPolicy},
    store::{Claimed, Ending},
};
use sqlx::{AssertSqlSafe, PgConnection, query_scalar, raw_sql};

use crate::{Schema, connect};

fn new(due: Due) -> NewJob {
    let mut spec = JobSpec::new("a", Json::null());
    spec.retain = Duration::ZERO;
    NewJob::new(JobId::new(), Arc::new(spec), due)
}

async fn claim(store: &dyn JobStore, max: usize) -> Claimed {
    let grant = Grant::new(Token::random(), Owner::random(), Duration::from_secs(30));
    let serves = Serves::new(Arc::new([("a".into(), 0)].into()));
    let want = Want::new("default", max);
    let claimed = store.claim_ready(&[want], &grant, &serves).await;
    claimed.expect("it answers")
}

/// Stores so many jobs, and brings them to their end.
async fn pass(store: &dyn JobStore, count: usize) {
    let batch: Vec<NewJob> = (0..count).map(|_| new(Due::Now)).collect();
    store.create(&batch).await.expect("it answers");
    let claimed = claim(store, count).await.jobs;
    assert_eq!(claimed.len(), count);
    let end =
        |job: bgjob::job::ClaimedJob| Ending::new(job.id, job.token, End::Success(Json::null()));
    let ends: Vec<Ending> = claimed.into_iter().map(end).collect();
    store.finish(&ends).await.expect("it answers");
}

/// Stores a job that was due long ago.
async fn store_late(store: &dyn JobStore) -> JobId {
    let now = store.now().await.expect("it answers").as_millis();
    let late = new(Due::At(Timestamp::from_millis(now - 3_600_000)));
    let created = store.create(std::slice::from_ref(&late)).await;
    created.expect("it answers");
    late.id
}

/// Holds a transaction open.
async fn hold() -> PgConnection {
    let mut holder = connect().await;
    let hold = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT txid_current()";
    run(&mut holder, hold).await;
    holder
}

async fn run(db: &mut PgConnection, sql: &'static str) {
    raw_sql(sql).execute(db).await.expect("it answers");
}

/// Stores a job in a transaction that goes on.
async fn store_within(store: &dyn JobStore, db: &mut PgConnection) -> JobId {
    let new = new(Due::Now);
    let own = store.transactions().expect("it can");
    let statement = own.create(std::slice::from_ref(&new)).await;
    let statement = statement.expect("it answers");
    let answer: String = query_scalar(AssertSqlSafe(statement.sql))
        .bind(statement.parameter)
        .fetch_one(db)
        .await
        .expect("it answers");
    assert_eq!(answer, r#"["created"]"#);
    new.id
}

/// Looks below and claims until something is found.
async fn find(store: &dyn JobStore) -> Vec<JobId> {
    let begun = Instant::now();
    loop {
        sweep(store).await;
        let claimed = claim(store, 10).await.jobs;
        if !claimed.is_empty() {
            return claimed.iter().map(|job| job.id).collect();
        }
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "it was never found"
        );
    }
}

async fn sweep(store: &dyn JobStore) {
    let swept = store.sweep(10, &SweepPolicy::default()).await;
    swept.expect("it answers");
}

/// What the server knows to be dead it passes over by itself, but page by page.
#[tokio::test]
async fn claims_begin_behind_many_dead_that_nobody_holds() {
    let schema = Schema::new().await;
    let store = &**schema.jobs.store();
    let no_vacuum = "ALTER TABLE jobs.ready SET (autovacuum_enabled = false)";
    schema.run(no_vacuum).await.expect("it may");
    for _ in 0..150 {
        pass(store, 1000).await;
    }
    let late = store_late(store).await;
    assert_eq!(claim(store, 10).await.jobs, []);
    assert_eq!(find(store).await, [late]);
}

#[tokio::test]
async fn what_comes_late_is_found_beside_the_claims() {
    let schema = Schema::new().await;
    let store = &**schema.jobs.store();
    let mut holder = hold().await;
    for _ in 0..8 {
        pass(store, 1000).await;
    }
    // Claims begin a second ago now, and go on finding what is new.
    pass(store, 100).await;
    let late = store_late(store).await;
    assert_eq!(claim(store, 10).await.jobs, []);
    assert_eq!(find(store).await, [late]);

    // Once vacuum can remove the dead, claims begin at the beginning again, each of them.
    let begun = Instant::now();
    let mut in_a_row = 0;
    run(&mut holder, "ROLLBACK").await;
    loop {
        // What others have begun may be in its way for a moment.
        let vacuum = schema.run("VACUUM jobs.ready");
        vacuum.await.expect("it answers");
        sweep(store).await;
        let late = store_late(store).await;
        let claimed = claim(store, 10).await.jobs;
        let found = claimed.iter().any(|job| job.id == late);
        in_a_row = if found { in_a_row + 1 } else { 0 };
        if in_a_row == 3 {
            break;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "it still passes over it"
        );
    }
}

#[tokio::test]
async fn what_was_in_progress_is_found_by_the_next_claim() {
    let schema = Schema::new().await;
    let store = &**schema.jobs.store();
    pass(store, 1).await;
    let mut holder = hold().await;
    // So many in a second that claims begin right behind them.
    for _ in 0..8 {
        pass(store, 1000).await;
    }
    for _ in 0..5 {
        let begun = Instant::now();
        let mut db = connect().await;
        run(&mut db, "BEGIN").await;
        let late = store_within(store, &mut db).await;
        for _ in 0..4 {
            pass(store, 500).await;
        }
        run(&mut db, "COMMIT").await;
        let found = claim(store, 10).await.jobs;
        let found: Vec<JobId> = found.iter().map(|job| job.id).collect();
        // On a machine that is slow, it counts as one that was open for long.
        if begun.elapsed() < Duration::from_millis(900) || !found.is_empty() {
            assert_eq!(found, [late]);
        } else {
            assert_eq!(find(store).await, [late]);
        }
    }
    // Nobody waits for one that was open for long, but what it stored is found all the same.
    let late = store_within(store, &mut holder).await;
    for _ in 0..4 {
        pass(store, 500).await;
    }
    run(&mut holder, "COMMIT").await;
    assert_eq!(find(store).await, [late]);
}
