//! Connections that are all taken.

use std::{sync::Arc, time::Duration};

use bgjob::{ErrorKind, JobManager, JobStore, providers::postgres::PostgresOptions};
use sqlx::{Connection, PgConnection, postgres::PgPoolOptions, raw_sql};

use crate::support::{
    Told, all_succeed, database, dispatcher, enqueue, fresh, new, open, soon, tell, url,
};

#[tokio::test(flavor = "multi_thread")]
async fn whoever_gets_no_connection_is_told_and_goes_on_later() {
    const JOBS: u64 = 200;
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(Duration::from_secs(3))
        .connect_lazy(&url(&database().await))
        .expect("it is a URL");
    let store = PostgresOptions::from_pool(pool.clone()).open().await;
    let jobs = JobManager::builder(store.expect("it can be opened")).build();
    let jobs = jobs.expect("the settings are the usual ones");
    let told = Arc::<Told>::default();
    let running = dispatcher(&jobs, &told).start().await.expect("it starts");
    enqueue(&jobs, 0..JOBS).await;
    told.more(20).await;
    let held = soon(pool.acquire()).await.expect("its turn comes");
    let error = soon(tell::enqueue(&jobs, 0).into_future()).await;
    let error = error.expect_err("the only connection is taken");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(error.to_string().contains("bgjob.connections"), "{error}");
    // The dispatcher is told as much, and says so.
    soon(told.until_down()).await;
    drop(held);
    all_succeed(&jobs, 0..JOBS).await;
    assert!(running.health().is_good());
    running.shutdown().await;
    told.each_once(JOBS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_waits_for_others_ends_in_time() {
    let store = Arc::new(open(&fresh().connections(1)).await);
    let mut other = PgConnection::connect(&crate::support::server().url()).await;
    let other = other.as_mut().expect("it answers");
    let lock = format!("BEGIN; LOCK TABLE {}.jobs", store.schema());
    let locked = raw_sql(sqlx::AssertSqlSafe(lock))
        .execute(&mut *other)
        .await;
    locked.expect("nobody is in the way");
    // The first has the only connection and waits for the table, the second for the connection.
    let create = || {
        let store = Arc::clone(&store);
        tokio::spawn(async move { store.create(&[new(None)]).await })
    };
    let (first, second) = (create(), create());
    let mut kinds = Vec::new();
    for call in [first, second] {
        let error = soon(call).await.expect("no panic").expect_err("it can't");
        assert!(error.is_retryable(), "{error:?}");
        kinds.push(error.kind());
    }
    assert!(kinds.contains(&ErrorKind::Timeout), "{kinds:?}");
    raw_sql("ROLLBACK")
        .execute(other)
        .await
        .expect("it may end");
    soon(store.create(&[new(None)])).await.expect("all is free");
}
