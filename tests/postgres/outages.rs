//! Servers that crash, cut connections, or take no writes.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bgjob::{
    ErrorKind, JobId, JobManager, JobStore,
    job::Token,
    providers::postgres::{PostgresOptions, PostgresStore},
    store::{Renewal, Renewed},
};
use sqlx::{Connection, PgConnection, postgres::PgPoolOptions, raw_sql};
use tokio::runtime::{self, Runtime};

use crate::{
    servers::{postgres::Server, proxy::Proxy},
    support::{
        Told, all_succeed, database, dispatcher, enqueue, fresh, name, new, open, run, server,
        soon, url,
    },
};

/// Ends all connections to a database, on the server's side.
async fn terminate(database: &str) {
    run(format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'"
    ))
    .await;
}

#[tokio::test]
async fn connections_that_were_cut_are_made_again() {
    let database = database().await;
    let options = PostgresOptions::from_url(&url(&database)).expect("it is a URL");
    let store = open(&options).await;
    store.create(&[new(None)]).await.expect("it answers");
    terminate(&database).await;
    // One call for each connection that was there may hear of it.
    let job = new(None);
    let mut answer = store.create(std::slice::from_ref(&job)).await;
    while let Err(error) = answer {
        assert!(error.is_retryable(), "{error:?}");
        answer = store.create(std::slice::from_ref(&job)).await;
    }
    let stored = store.get(&[job.id]).await.expect("it answers");
    assert!(stored[0].is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_lay_idle_cost_no_call_its_answer() {
    let database = database().await;
    let options = PostgresOptions::from_url(&url(&database)).expect("it is a URL");
    let store = Arc::new(open(&options).await);
    create_some(&store).await;
    terminate(&database).await;
    lie_idle(&store).await;
    create_some(&store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_lead_nowhere_cost_no_call_its_answer() {
    let proxy = Proxy::start(server()).await;
    let options = PostgresOptions::from_url(&proxy.url("postgres")).expect("it is a URL");
    let store = Arc::new(open(&options.schema(&name())).await);
    create_some(&store).await;
    lie_idle(&store).await;
    proxy.silence();
    soon(create_some(&store)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_given_up_takes_no_connection_along() {
    let proxy = Proxy::start(server()).await;
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(Duration::from_secs(10))
        .test_before_acquire(false)
        .connect_lazy(&proxy.url("postgres"))
        .expect("it is a URL");
    let store = open(&PostgresOptions::from_pool(pool.clone()).schema(&name())).await;
    while pool.num_idle() == 0 {
        tokio::task::yield_now().await;
    }
    proxy.silence();
    let job = new(None);
    let create = || store.create(std::slice::from_ref(&job));
    let given_up = tokio::time::timeout(Duration::from_millis(300), create()).await;
    given_up.expect_err("nobody answers");
    soon(create()).await.expect("there is a new connection");
}

/// Calls at the same time, each with a connection of its own, and all are answered.
async fn create_some(store: &Arc<PostgresStore>) {
    let calls: Vec<_> = (0..8)
        .map(|_| {
            let store = Arc::clone(store);
            tokio::spawn(async move { store.create(&[new(None)]).await })
        })
        .collect();
    for call in calls {
        call.await.expect("no panic").expect("it answers");
    }
}

/// Lets the connections of a store be idle for long enough to be doubted.
async fn lie_idle(store: &PostgresStore) {
    // A wait ends by itself after a second at the latest.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(1500) {
        let waited = store.wait_ready(&[Arc::from("nothing")]).await;
        waited.expect("it answers");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dispatcher_outlives_its_connections() {
    const JOBS: u64 = 2000;
    let database = database().await;
    let jobs = JobManager::connect(url(&database)).await.expect("it runs");
    enqueue(&jobs, 0..JOBS).await;
    let told = Arc::<Told>::default();
    let running = dispatcher(&jobs, &told).start().await.expect("it starts");
    for _ in 0..10 {
        told.more(100).await;
        terminate(&database).await;
    }
    all_succeed(&jobs, 0..JOBS).await;
    running.shutdown().await;
    told.each_once(JOBS);
}

#[tokio::test]
async fn a_server_that_takes_no_writes_is_unavailable() {
    let server = Server::start(&["fsync=off"]);
    let options = PostgresOptions::from_url(&server.url()).expect("it is a URL");
    drop(open(&options).await);
    let mut db = PgConnection::connect(&server.url()).await.expect("it runs");
    let settings = [
        "ALTER SYSTEM SET default_transaction_read_only = on",
        "SELECT pg_reload_conf()",
    ];
    for sql in settings {
        raw_sql(sql).execute(&mut db).await.expect("it may be set");
    }
    let error = loop {
        // It takes a moment until a new connection sees it.
        let store = open(&options).await;
        if let Err(error) = store.create(&[new(None)]).await {
            break error;
        }
    };
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(error.to_string().contains("no writes"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dispatcher_outlives_its_server() {
    const JOBS: u64 = 2000;
    let server = Server::start(&[]);
    let jobs = JobManager::connect(server.url()).await.expect("it runs");
    enqueue(&jobs, 0..JOBS).await;
    let told = Arc::<Told>::default();
    let running = dispatcher(&jobs, &told).start().await.expect("it starts");
    for _ in 0..3 {
        told.more(100).await;
        server.crash();
    }
    all_succeed(&jobs, 0..JOBS).await;
    running.shutdown().await;
    // Who held a job when the server crashed holds it still.
    told.each_once(JOBS);
}

/// A dispatcher renews from a thread of its own, whose runtime takes its connections along when it
/// ends; the store, and with it the pool, may well go on with another dispatcher.
#[test]
fn renewals_go_on_with_the_next_dispatcher() {
    let runtime = Runtime::new().expect("a runtime starts");
    let store = runtime.block_on(open(&fresh()));
    let held = [Renewal::new(JobId::new(), Token::random())];
    let renew = async || store.renew(&held, Duration::from_secs(30)).await;
    for _ in 0..2 {
        let thread = runtime::Builder::new_current_thread().enable_all().build();
        thread.expect("a runtime starts").block_on(async {
            // Some connections are back in the pool when the next begins.
            for _ in 0..10 {
                assert_eq!(renew().await.expect("it answers"), [Renewed::Lost]);
            }
        });
    }
}
