//! Tables of the first version with live jobs, brought up to date while workers run.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::SeqCst},
};

use bgjob::{
    DispatcherHandle, ErrorKind, JobDispatcher, JobHandle, JobId, JobManager, Outcome, Registry,
    State, job,
    providers::postgres::{PostgresOptions, PostgresStore},
};
use sqlx::{AssertSqlSafe, postgres::PgRow, raw_sql};

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

async fn start(jobs: &JobManager, starts: &Arc<Starts>) -> DispatcherHandle {
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

/// A program of before, by the statements that it sends.
struct Old<'a> {
    schema: &'a str,
}

impl Old<'_> {
    async fn run(&self, sql: &str) -> Vec<PgRow> {
        let sql = sql.replace("jobs.", &format!("{}.", self.schema));
        let mut db = connect().await;
        let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut db).await;
        rows.expect("it still may say so")
    }

    async fn enqueue(&self, jobs: &JobManager, from: u64) -> Vec<(u64, JobHandle<Outcome<u64>>)> {
        self.run(
            "INSERT INTO jobs.lanes(queue, name, version) SELECT * FROM (
                 VALUES('default', 'step', 0::bigint)) n ON CONFLICT DO NOTHING",
        )
        .await;
        let all = from..from + 500;
        let id = |n: u64| JobId::from_key(format!("step-{n}"));
        let ids: Vec<String> = all.clone().map(|n| format!("'{}'", id(n))).collect();
        let created = format!(
            "SELECT jobs.create_jobs(NULL, array_agg(n.id), array_agg(l.id),
                 array_agg(2::smallint), array_agg(0::bigint), array_agg(true),
                 array_agg(86400000000000), array_agg(5), array_agg(3), NULL, NULL, NULL, NULL,
                 array_agg(({from} + n.nth - 1)::text), 20000, true)
             FROM unnest(ARRAY[{}]::uuid[]) WITH ORDINALITY AS n(id, nth), jobs.lanes l
             WHERE l.name = 'step'",
            ids.join(",")
        );
        self.run(&created).await;
        all.map(|n| (n, jobs.handle(id(n)))).collect()
    }

    /// Claims and ends what it gets, and answers how many that were.
    async fn work(&self, most: u64) -> u64 {
        let (token, owner) = (JobId::new(), JobId::new());
        let claim = format!(
            "SELECT c.id, c.metadata FROM jobs.claim_ready(NULL,
                 ARRAY(SELECT id FROM jobs.lanes WHERE name = 'step'), ARRAY[1], ARRAY[{most}],
                 false, NULL, '{token}', '{owner}', 30000, NULL) c WHERE c.id IS NOT NULL"
        );
        let claimed = self.run(&claim).await.len() as u64;
        let end = format!(
            "SELECT jobs.succeed(NULL, array_agg(j.id), array_agg('{token}'::uuid),
                 array_agg(j.metadata), array_agg(j.id))
             FROM jobs.grants g CROSS JOIN LATERAL unnest(g.ids) AS n(id)
             JOIN jobs.jobs j ON j.id = n.id WHERE g.token = '{token}' HAVING count(*) > 0"
        );
        self.run(&end).await;
        claimed
    }
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
    let old = Old { schema: &name };
    // Only for its handles, which are looked up later.
    let old_jobs = open(&options.clone().as_of(1)).await;
    let mut handles = old.enqueue(&old_jobs, 0).await;
    let mut by_old = old.work(100).await;

    let refused = options.clone().migrate(false).open().await;
    let error = refused.expect_err("they are old");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(
        error.to_string().contains("older than this program"),
        "{error}"
    );
    let new_jobs = open(&options).await;
    handles.extend(old.enqueue(&new_jobs, 500).await);
    by_old += old.work(100).await;
    assert_eq!(by_old, 200, "it works as before");
    let new_worker = start(&new_jobs, &starts).await;
    handles.extend(enqueue(&new_jobs, 1000).await);
    handles.extend(old.enqueue(&new_jobs, 1500).await);
    by_old += old.work(100).await;
    // An old program that is started once more, as after a crash.
    drop(open(&options.clone().as_of(1)).await);
    let mut tx = connect().await;
    let within = step::enqueue(&new_jobs, 2500).in_transaction(&mut tx).await;
    handles.push((2500, within.expect("it is taken")));

    for (n, handle) in &handles {
        let new = new_jobs.handle::<u64>(handle.id());
        assert_eq!(new.result().await.expect("it succeeds"), *n);
    }
    assert_eq!(starts.0.load(SeqCst) + by_old, handles.len() as u64);
    let steps = PostgresStore::migrations(&options)
        .await
        .expect("it answers");
    assert!(steps.iter().all(|step| step.applied));
    new_worker.shutdown().await;
}
