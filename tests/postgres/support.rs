//! A server that the tests share, schemas of their own in it, and jobs that are counted.

use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use bgjob::{
    DispatcherBuilder, Event, JobDispatcher, JobError, JobId, JobManager, JobSpec, JobState,
    JobStore, Json, Registry, State, Want, job,
    job::{ClaimedJob, Due, End, Grant, NewJob, Owner, Serves, Token},
    providers::postgres::{PostgresOptions, PostgresStore},
    store::{Ending, Finished},
};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row, raw_sql};
use tokio::sync::{Notify, Semaphore};

use crate::servers::postgres::Server;

/// Longer than anything takes, however busy the machine is.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// What should come soon; a test that fails shall not hang.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(PATIENCE, what).await;
    done.expect("it comes soon")
}

pub(crate) fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| Server::start(&["fsync=off"]))
}

/// A name of one test's own, for a schema or a database.
pub(crate) fn name() -> String {
    format!("jobs_{}", JobId::new().to_string().replace('-', ""))
}

/// A schema of one test's own.
pub(crate) fn fresh() -> PostgresOptions {
    options().schema(&name())
}

pub(crate) fn options() -> PostgresOptions {
    PostgresOptions::from_url(&server().url()).expect("it is a URL")
}

/// A database of one test's own, where the connections of all others are out of reach.
pub(crate) async fn database() -> String {
    let name = name();
    run(format!("CREATE DATABASE {name}")).await;
    name
}

/// The URL of a database of the shared server.
pub(crate) fn url(database: &str) -> String {
    let url = server().url();
    let server = url.strip_suffix("postgres").expect("it ends with it");
    format!("{server}{database}")
}

pub(crate) async fn open(options: &PostgresOptions) -> PostgresStore {
    options.clone().open().await.expect("it can be opened")
}

/// Runs statements on the shared server.
pub(crate) async fn run(sql: String) {
    run_at(&server().url(), sql).await;
}

pub(crate) async fn run_at(url: &str, sql: String) {
    let mut db = PgConnection::connect(url).await.expect("it answers");
    for left in (0..10).rev() {
        let done = raw_sql(AssertSqlSafe(sql.clone())).execute(&mut db).await;
        // Programs are at work: whoever locks all their tables may be the victim of a deadlock.
        let code = done
            .as_ref()
            .err()
            .and_then(|error| error.as_database_error()?.code());
        if left == 0 || code.is_none_or(|code| code != "40P01") {
            done.expect("the statements are right");
            return;
        }
    }
}

/// The number that a statement answers.
pub(crate) async fn count_at(url: &str, sql: &str) -> i64 {
    let mut db = PgConnection::connect(url).await.expect("it answers");
    let row = sqlx::query(AssertSqlSafe(sql.to_owned()))
        .fetch_one(&mut db)
        .await;
    row.expect("the statement is right").get(0)
}

pub(crate) fn new(key: Option<&str>) -> NewJob {
    let mut spec = JobSpec::new("resize", Json::trusted("1"));
    spec.unique_key = key.map(str::to_owned);
    NewJob::new(JobId::new(), Arc::new(spec), Due::Now)
}

/// Claims at most so many of them.
pub(crate) async fn claim(store: &PostgresStore, max: usize) -> Vec<ClaimedJob> {
    let grant = Grant::new(Token::random(), Owner::random(), Duration::from_secs(30));
    let serves = Serves::new(Arc::new(
        ["resize", "urgent", "late"]
            .map(|name| (name.into(), 0))
            .into(),
    ));
    let want = Want::new("default", max);
    let claimed = store.claim_ready(&[want], &grant, &serves).await;
    claimed.expect("it answers").jobs
}

/// Ends claimed jobs well.
pub(crate) async fn succeed(store: &PostgresStore, jobs: Vec<ClaimedJob>) {
    let end = |job: ClaimedJob| Ending::new(job.id, job.token, End::Success(Json::null()));
    let ends: Vec<Ending> = jobs.into_iter().map(end).collect();
    let finished = store.finish(&ends).await.expect("it answers");
    let applied = Finished::Applied(JobState::Succeeded);
    assert!(finished.iter().all(|one| *one == applied), "{finished:?}");
}

#[derive(Debug)]
struct Ran(Semaphore);

impl Default for Ran {
    fn default() -> Self {
        Self(Semaphore::new(0))
    }
}

/// What became of jobs, as those tell it who run them.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// How often each was run, by its number.
    runs: Mutex<HashMap<u64, usize>>,
    /// Counts the runs too, for those who wait for more of them.
    ran: Ran,
    /// How often each was recorded as a success.
    successes: Mutex<HashMap<JobId, usize>>,
    /// That the store failed the dispatcher.
    down: Notify,
    /// Loops of the dispatcher that failed, which none may.
    failed: Mutex<Vec<String>>,
}

impl Told {
    fn hear(&self, event: &Event<'_>) {
        match event {
            Event::Recorded {
                job,
                answer: Finished::Applied(JobState::Succeeded),
                ..
            } => *self.successes.lock().unwrap().entry(job.id).or_default() += 1,
            Event::Down { .. } => self.down.notify_one(),
            Event::LoopFailed { .. } => self.failed.lock().unwrap().push(format!("{event:?}")),
            _ => {}
        }
    }

    /// Each of so many jobs was run once, and none recorded twice.
    #[track_caller]
    pub(crate) fn each_once(&self, jobs: u64) {
        let runs = self.runs.lock().unwrap();
        let ran = |n: u64| runs.get(&n).copied().unwrap_or(0);
        let other: Vec<_> = (0..jobs)
            .map(|n| (n, ran(n)))
            .filter(|r| r.1 != 1)
            .collect();
        assert!(other.is_empty(), "runs, by number: {other:?}");
        let successes = self.successes.lock().unwrap();
        assert!(successes.values().all(|times| *times == 1), "{successes:?}");
        let failed = self.failed.lock().unwrap();
        assert!(failed.is_empty(), "{failed:?}");
    }

    /// Returns when the store has failed the dispatcher, also where that was before.
    pub(crate) async fn until_down(&self) {
        self.down.notified().await;
    }

    /// Returns when so many more have run.
    pub(crate) async fn more(&self, runs: u32) {
        let some = soon(self.ran.0.acquire_many(runs)).await;
        some.expect("it is never closed").forget();
    }
}

/// Says its number, and that it ran.
#[job]
pub(crate) async fn tell(n: u64, told: State<Arc<Told>>) -> Result<u64, JobError> {
    *told.runs.lock().unwrap().entry(n).or_default() += 1;
    told.ran.0.add_permits(1);
    tokio::task::yield_now().await;
    Ok(n)
}

pub(crate) fn id(n: u64) -> JobId {
    JobId::from_key(format!("tell-{n}"))
}

/// A dispatcher of these jobs.
pub(crate) fn dispatcher(jobs: &JobManager, told: &Arc<Told>) -> DispatcherBuilder {
    let heard = Arc::clone(told);
    JobDispatcher::builder(jobs)
        .registry(Registry::new().with::<tell>())
        .state(Arc::clone(told))
        .on_event(move |event| heard.hear(event))
}

/// Enqueues these numbers, as often as it takes: the ids make it safe to repeat.
pub(crate) async fn enqueue(jobs: &JobManager, numbers: std::ops::Range<u64>) {
    loop {
        let sent = tell::enqueue_all(jobs, numbers.clone()).id_by(|n| id(*n));
        match sent.await {
            Ok(_) => return,
            Err(error) => assert!(error.is_retryable(), "{error:?}"),
        }
        tokio::task::yield_now().await;
    }
}

/// Waits until these jobs have succeeded, with their own numbers as results.
pub(crate) async fn all_succeed(jobs: &JobManager, numbers: std::ops::Range<u64>) {
    for n in numbers {
        let handle = jobs.handle::<u64>(id(n));
        let result = loop {
            match soon(handle.result()).await {
                Err(error) if error.is_retryable() => tokio::task::yield_now().await,
                answer => break answer,
            }
        };
        assert_eq!(result.expect("it succeeded"), n);
    }
}
