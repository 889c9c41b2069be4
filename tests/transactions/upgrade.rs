//! Tables of the first version with live jobs, brought up to date while workers run.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::SeqCst},
};

use bgjob::{
    ErrorKind, JobDispatcher, JobHandle, JobId, JobManager, Outcome, Registry, Running, State, job,
    providers::postgres::{PostgresOptions, PostgresStore},
};
use sqlx::{AssertSqlSafe, raw_sql};

use crate::{connect, server};

#[derive(Default)]
struct Starts(AtomicU64);

#[job]
async fn step(n: u64, starts: State<Starts>) -> Outcome<u64> {
    starts.0.fetch_add(1, SeqCst);
    tokio::task::yield_now().await;
    Outcome::Success(n)
}

async fn open(options: &PostgresOptions) -> JobManager {
    let store = options.clone().open().await.expect("it opens");
    JobManager::builder(store).build().expect("it can all")
}

async fn start(jobs: &JobManager, starts: &Arc<Starts>) -> Running {
    let dispatcher = JobDispatcher::builder(jobs)
        .registry(Registry::new().with::<step>())
        .shared_state(Arc::clone(starts));
    dispatcher.start().await.expect("it starts")
}

async fn enqueue(jobs: &JobManager, from: u64) -> Vec<(u64, JobHandle<Outcome<u64>>)> {
    let all = from..from + 500;
    let handles = step::enqueue_all(jobs, all.clone()).await;
    all.zip(handles.expect("they are taken")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_are_brought_up_to_date_under_running_workers() {
    let name = format!("jobs_{}", JobId::new().to_string().replace('-', ""));
    let options = PostgresOptions::from_url(&server().url()).expect("it is a URL");
    let options = options.schema(&name);
    let steps = PostgresStore::migrations(&options)
        .await
        .expect("it answers");
    let mut db = connect().await;
    let first = raw_sql(AssertSqlSafe(steps[0].sql.as_str()));
    first.execute(&mut db).await.expect("they can be made");

    let starts = Arc::new(Starts::default());
    let old = options.clone().as_of(1);
    let old_jobs = open(&old).await;
    let mut handles = enqueue(&old_jobs, 0).await;
    let old_worker = start(&old_jobs, &starts).await;
    handles.extend(enqueue(&old_jobs, 500).await);

    let refused = options.clone().migrate(false).open().await;
    let error = refused.expect_err("they are old");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(
        error.to_string().contains("older than this program"),
        "{error}"
    );
    let new_jobs = open(&options).await;
    let new_worker = start(&new_jobs, &starts).await;
    handles.extend(enqueue(&new_jobs, 1000).await);
    handles.extend(enqueue(&old_jobs, 1500).await);
    // An old program that is started once more, as after a crash.
    let old_again = open(&old).await;
    handles.extend(enqueue(&old_again, 2000).await);
    let mut tx = connect().await;
    let within = step::enqueue(&new_jobs, 2500).within(&mut tx).await;
    handles.push((2500, within.expect("it is taken")));

    for (n, handle) in &handles {
        assert_eq!(handle.result().await.expect("it succeeds"), *n);
    }
    assert_eq!(starts.0.load(SeqCst), handles.len() as u64);
    let steps = PostgresStore::migrations(&options)
        .await
        .expect("it answers");
    assert!(steps.iter().all(|step| step.applied));
    for worker in [old_worker, new_worker] {
        worker.shutdown().await;
    }
}
