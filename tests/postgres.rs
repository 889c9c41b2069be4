//! The PostgreSQL store against a server of its own: what the suites can't ask of a store.

#[path = "servers/postgres.rs"]
mod server;

use std::{
    future::poll_fn,
    pin::pin,
    sync::{Arc, OnceLock},
    task::Poll,
    time::Duration,
};

use bgjob::{
    ErrorKind, JobDispatcher, JobId, JobManager, JobSpec, JobStore, Json, Registry, job,
    job::{Due, NewJob},
    providers::postgres::{PostgresOptions, PostgresStore},
    store::Created,
};
use server::Server;
use sqlx::{AssertSqlSafe, Connection, PgConnection, raw_sql};
use tokio::sync::Semaphore;

/// Longer than anything takes, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(20);

fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| Server::start(&["fsync=off"]))
}

/// A schema of one test's own.
fn fresh() -> PostgresOptions {
    let name = JobId::new().to_string().replace('-', "");
    options().schema(&format!("jobs_{name}"))
}

fn options() -> PostgresOptions {
    PostgresOptions::from_url(&server().url()).expect("it is a URL")
}

async fn open(options: &PostgresOptions) -> PostgresStore {
    options.clone().open().await.expect("it can be opened")
}

async fn run(sql: String) {
    let connected = PgConnection::connect(&server().url()).await;
    let mut db = connected.expect("the server answers");
    let done = raw_sql(AssertSqlSafe(sql)).execute(&mut db).await;
    done.expect("the statements are right");
}

fn new(key: Option<&str>) -> NewJob {
    let mut spec = JobSpec::new("resize", Json::trusted("1"));
    spec.unique_key = key.map(str::to_owned);
    NewJob {
        id: JobId::new(),
        spec: Arc::new(spec),
        due: Due::Now,
    }
}

#[tokio::test]
async fn what_is_no_name_of_a_schema_is_refused() {
    let url = server().url();
    for name in [
        "",
        "a b",
        "a;drop table x",
        "A",
        "1a",
        "pg_jobs",
        "\"a\"",
        "ä",
    ] {
        let opened = options().schema(name).open().await;
        let error = opened.expect_err("it goes into statements");
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{name}");
    }
    let opened = JobManager::connect(format!("{url}?bgjob.schema=a'b")).await;
    let error = opened.expect_err("it goes into statements");
    assert!(error.to_string().contains("schema"), "{error}");
}

#[tokio::test]
async fn what_is_wrong_in_a_url_is_said_without_its_password() {
    let wrong = [
        "postgres://me:secret@127.0.0.1:1/db?bgjob.schema=A",
        "postgres://me:secret@127.0.0.1:1/db?bgjob.conections=1",
        "postgres://me:secret@127.0.0.1:1/db?bgjob.connections=0",
        "postgres://me:secret@127.0.0.1:port/db",
        "postgres://me:secret@127.0.0.1:1/db?sslmode=perhaps",
        "postgres:me:secret",
    ];
    for url in wrong {
        let error = JobManager::connect(url).await.expect_err("it is wrong");
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        assert!(!format!("{error:?}").contains("secret"), "{error:?}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable() {
    let opened = JobManager::connect("postgres://me:secret@127.0.0.1:1/db").await;
    let error = opened.expect_err("nobody listens on this port");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(!format!("{error:?}").contains("secret"), "{error:?}");
}

#[tokio::test]
async fn a_database_that_is_not_there_is_named_as_the_mistake() {
    let url = server().url();
    let url = url.strip_suffix("postgres").expect("it ends with it");
    let url = format!("{url}nothing");
    let error = JobManager::connect(url).await.expect_err("it is not there");
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");
}

#[tokio::test]
async fn tables_of_a_newer_version_are_refused() {
    let options = fresh();
    let store = open(&options).await;
    let schema = store.schema().to_owned();
    run(format!(
        "INSERT INTO {schema}.migrations(version, oldest) VALUES(99, 99)"
    ))
    .await;
    let error = options.open().await.expect_err("they are newer");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("upgrade"), "{error}");
}

#[tokio::test]
async fn tables_can_be_made_by_hand() {
    let options = fresh().migrate(false);
    let error = options.clone().open().await.expect_err("there are none");
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    let steps = PostgresStore::migrations(&options).await;
    for step in steps.expect("the server answers") {
        assert!(!step.applied);
        run(step.sql).await;
    }
    let store = open(&options).await;
    let created = store.create(&[new(None)]).await;
    assert_eq!(created.expect("it answers"), [Created::Created]);
    let steps = PostgresStore::migrations(&options).await;
    assert!(steps.expect("it answers").iter().all(|step| step.applied));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_may_make_the_tables_at_once() {
    let options = fresh();
    let opens: Vec<_> = (0..8)
        .map(|_| tokio::spawn(options.clone().open()))
        .collect();
    for open in opens {
        open.await.expect("no panic").expect("one after the other");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_32_tasks_one_gets_the_key() {
    let store = Arc::new(open(&fresh()).await);
    let tasks: Vec<_> = (0..32)
        .map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.create(&[new(Some("one"))]).await })
        })
        .collect();
    let mut created = 0;
    for task in tasks {
        let answer = task.await.expect("no panic").expect("it answers").remove(0);
        created += usize::from(answer == Created::Created);
        assert!(matches!(answer, Created::Created | Created::KeyTaken(_)));
    }
    assert_eq!(created, 1);
}

#[tokio::test]
async fn connections_that_were_cut_are_made_again() {
    let options = fresh();
    let store = open(&options).await;
    store.create(&[new(None)]).await.expect("it answers");
    run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
         WHERE application_name = 'bgjob' AND pid <> pg_backend_pid()"
        .to_owned())
    .await;
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

#[tokio::test]
async fn a_job_of_another_process_wakes() {
    let options = fresh();
    let (here, there) = (open(&options).await, open(&options).await);
    let queues = [Arc::from("default")];
    // The first wait ends when it is listened; what is woken after that is woken by a job.
    here.wait_ready(&queues).await.expect("it answers");
    let mut wait = pin!(here.wait_ready(&queues));
    let early = poll_fn(|context| Poll::Ready(wait.as_mut().poll(context).is_ready())).await;
    there.create(&[new(None)]).await.expect("it answers");
    if !early {
        let woken = tokio::time::timeout(PATIENCE, wait).await;
        woken.expect("it is told").expect("it answers");
    }
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

static STARTED: Semaphore = Semaphore::const_new(0);

/// Says that it runs.
#[job(max_crashes = 100)]
async fn tell(n: u64) -> Result<u64, bgjob::JobError> {
    STARTED.add_permits(1);
    tokio::task::yield_now().await;
    Ok(n)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dispatcher_outlives_its_server() {
    const JOBS: u64 = 3000;
    let server = Server::start(&[]);
    let jobs = JobManager::connect(server.url()).await.expect("it runs");
    let all: Vec<u64> = (0..JOBS).collect();
    let handles = tell::enqueue_all(&jobs, all).await.expect("it answers");
    let dispatcher = JobDispatcher::builder(&jobs).registry(Registry::new().with::<tell>());
    let running = dispatcher.start().await.expect("it starts");
    for _ in 0..3 {
        let some = STARTED.acquire_many(100).await.expect("it is never closed");
        some.forget();
        server.crash();
    }
    for (n, handle) in (0..).zip(handles) {
        let result = loop {
            match handle.result().await {
                Err(error) if error.is_retryable() => tokio::task::yield_now().await,
                answer => break answer,
            }
        };
        assert_eq!(result.expect("it succeeded"), n);
    }
    let _ = running.shutdown().await;
}
