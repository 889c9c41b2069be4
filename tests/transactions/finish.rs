//! Success within the handler's own transaction.

use std::{sync::Arc, time::Duration};

use bgjob::{
    DispatcherHandle, Event, JobContext, JobDispatcher, JobError, JobManager, JobState, Registry,
    State, job, providers::postgres::JobTransaction, store::Finished,
};
use sqlx::{AssertSqlSafe, PgPool, Row};
use tokio::sync::{Mutex, Notify};

use crate::{Schema, pool};

/// The table that a test's jobs write to, one row an attempt that was committed.
#[derive(Clone)]
struct Table(Arc<str>);

impl Table {
    async fn new(schema: &Schema) -> Self {
        let create = "CREATE TABLE jobs.written(n bigint, checked bigint UNIQUE \
            DEFERRABLE INITIALLY DEFERRED)";
        schema.run(create).await.expect("it is right");
        Self(format!("{}.written", schema.name).into())
    }

    async fn write(&self, tx: &mut JobTransaction, n: i64) -> Result<(), sqlx::Error> {
        let insert = format!("INSERT INTO {}(n) VALUES($1)", self.0);
        let insert = sqlx::query(AssertSqlSafe(insert)).bind(n);
        insert.execute(&mut **tx).await.map(|_| ())
    }

    async fn rows(&self) -> Vec<i64> {
        let select = format!("SELECT n FROM {} ORDER BY n", self.0);
        let rows = sqlx::query(AssertSqlSafe(select))
            .fetch_all(&pool().await)
            .await;
        let rows = rows.expect("it answers");
        rows.iter().map(|row| row.get("n")).collect()
    }
}

type Heard = Arc<std::sync::Mutex<Vec<Finished>>>;

async fn start<T: bgjob::JobItem>(jobs: &JobManager, table: &Table) -> (DispatcherHandle, Heard) {
    let heard = Heard::default();
    let noted = Arc::clone(&heard);
    let running = JobDispatcher::builder(jobs)
        .registry(Registry::new().with::<T>())
        .state(pool().await)
        .state(table.clone())
        .lease(Duration::from_secs(5))
        .on_event(move |event| {
            if let Event::Recorded { answer, .. } = event {
                noted.lock().expect("nobody panics").push(*answer);
            }
        })
        .start()
        .await
        .expect("it starts");
    (running, heard)
}

#[job(backoff = "constant(1ms)")]
async fn transfer(
    n: i64,
    ctx: JobContext,
    table: State<Table>,
    mut tx: JobTransaction,
) -> Result<i64, JobError> {
    table
        .write(&mut tx, 10 * n + i64::from(ctx.attempt()))
        .await?;
    match (n, ctx.attempt()) {
        (1, 1) => Err(JobError::retry(
            "the first attempt fails after it has written",
        )),
        (2, 1) => panic!("so does this one"),
        _ => Ok(n + 100),
    }
}

#[tokio::test]
async fn writes_and_success_are_one_commit() {
    let schema = Schema::new().await;
    let table = Table::new(&schema).await;
    let (running, heard) = start::<transfer>(&schema.jobs, &table).await;
    let handles = transfer::enqueue_all(&schema.jobs, 0..5)
        .await
        .expect("they are taken");
    for (n, handle) in (0..).zip(&handles) {
        assert_eq!(handle.result().await.expect("it succeeds"), n + 100);
    }
    let unkept = transfer::enqueue(&schema.jobs, 9)
        .retain(Duration::ZERO)
        .await;
    let unkept = unkept.expect("it is taken");
    unkept.ended().await.expect_err("it is gone with its end");
    running.shutdown().await;
    // Those of the second attempt, where the first has failed.
    assert_eq!(table.rows().await, [1, 12, 22, 31, 41, 91]);
    let heard = heard.lock().expect("nobody panics");
    let succeeded = |answer: &&Finished| **answer == Finished::Applied(JobState::Succeeded);
    assert_eq!(heard.iter().filter(succeeded).count(), 6);
    assert_eq!(heard.len(), 8);
}

/// A statement so slow that no job is taken ahead.
#[job]
async fn book(_: (), mut tx: JobTransaction) -> Result<(), JobError> {
    let slow = sqlx::query("SELECT pg_sleep(0.06)");
    slow.execute(&mut *tx).await?;
    Ok(())
}

/// Such an end needs no call to the store, but the next job does.
#[tokio::test]
async fn a_slot_that_has_committed_takes_the_next_job_at_once() {
    let schema = Schema::new().await;
    let jobs = book::enqueue_all(&schema.jobs, [(); 12]).await;
    let jobs = jobs.expect("they are taken");
    let dispatcher = JobDispatcher::builder(&schema.jobs)
        .registry(Registry::new().with::<book>())
        .state(pool().await);
    let running = dispatcher.default_slots(1).start().await;
    let running = running.expect("it starts");
    // Less than a second; by itself the store is asked once a second.
    let all = async {
        for job in &jobs {
            job.result().await.expect("it succeeds");
        }
    };
    let all = tokio::time::timeout(Duration::from_secs(6), all).await;
    all.expect("no job waits for the next look");
    running.shutdown().await;
}

#[job(backoff = "constant(1ms)", max_attempts = 2)]
async fn collide(n: i64, table: State<Table>, mut tx: JobTransaction) -> Result<(), JobError> {
    let insert = format!("INSERT INTO {} VALUES($1, 1)", table.0);
    sqlx::query(AssertSqlSafe(insert))
        .bind(n)
        .execute(&mut *tx)
        .await?;
    Ok(())
}

#[tokio::test]
async fn a_commit_that_is_refused_is_an_error_of_the_attempt() {
    let schema = Schema::new().await;
    let table = Table::new(&schema).await;
    let (running, _) = start::<collide>(&schema.jobs, &table).await;
    let first = collide::enqueue(&schema.jobs, 1)
        .await
        .expect("it is taken");
    first.result().await.expect("it is the first");
    let second = collide::enqueue(&schema.jobs, 2)
        .await
        .expect("it is taken");
    let job = second.ended().await.expect("it is kept");
    assert_eq!((job.state(), job.errors), (JobState::Dead, 2));
    let error = job.last_error().expect("it has failed").message();
    assert!(error.contains("could not be committed"), "{error}");
    running.shutdown().await;
    assert_eq!(table.rows().await, [1]);
}

#[job(max_attempts = 1)]
async fn twice(_: (), _one: JobTransaction, _two: JobTransaction) {}

#[job(max_attempts = 1)]
async fn leak(_: (), tx: JobTransaction, kept: State<Mutex<Option<JobTransaction>>>) {
    *kept.lock().await = Some(tx);
}

#[tokio::test]
async fn what_can_not_be_committed_is_said() {
    let schema = Schema::new().await;
    let running = JobDispatcher::builder(&schema.jobs)
        .registry(Registry::new().with::<twice>().with::<leak>())
        .state(pool().await)
        .state(Mutex::<Option<JobTransaction>>::default())
        .start()
        .await
        .expect("it starts");
    let twice = twice::enqueue(&schema.jobs, ()).await.expect("it is taken");
    let leak = leak::enqueue(&schema.jobs, ()).await.expect("it is taken");
    for (job, says) in [
        (twice.ended().await, "a job has one transaction"),
        (leak.ended().await, "still in use"),
    ] {
        let job = job.expect("it is kept");
        let error = job.last_error().expect("it has failed").message();
        assert!(error.contains(says), "{error}");
    }
    running.shutdown().await;
    let missing = JobDispatcher::builder(&schema.jobs)
        .registry(Registry::new().with::<twice>())
        .start()
        .await;
    let error = missing.expect_err("it has no pool").to_string();
    assert!(error.contains("State<Pool<Postgres>>"), "{error}");
}

/// Lets the test take the job away in the middle.
#[derive(Default)]
struct Gate {
    written: Notify,
    go_on: Notify,
}

#[job]
async fn freeze(
    n: i64,
    table: State<Table>,
    gate: State<Gate>,
    ctx: JobContext,
    mut tx: JobTransaction,
) -> Result<(), JobError> {
    table.write(&mut tx, n + i64::from(ctx.crashes())).await?;
    if ctx.crashes() == 0 {
        gate.written.notify_one();
        gate.go_on.notified().await;
    }
    Ok(())
}

#[tokio::test]
async fn a_zombie_commits_nothing() {
    let schema = Schema::new().await;
    let table = Table::new(&schema).await;
    let gate = Arc::new(Gate::default());
    let heard = Heard::default();
    let noted = Arc::clone(&heard);
    let running = JobDispatcher::builder(&schema.jobs)
        .registry(Registry::new().with::<freeze>())
        .state(pool().await)
        .state(table.clone())
        .shared_state(Arc::clone(&gate))
        .on_event(move |event| {
            if let Event::Recorded { answer, .. } = event {
                noted.lock().expect("nobody panics").push(*answer);
            }
        })
        .start()
        .await
        .expect("it starts");
    let job = freeze::enqueue(&schema.jobs, 1).await.expect("it is taken");
    gate.written.notified().await;
    // As if its lease had run out: the sweeper takes it away, and it is due at once.
    schema
        .run("UPDATE jobs.grants SET lease_until = 0")
        .await
        .expect("it is there");
    let policy = bgjob::job::transition::SweepPolicy::default().crash_backoff(Vec::new());
    let swept = schema
        .jobs
        .store()
        .sweep(10, &policy)
        .await
        .expect("it answers");
    // The dispatcher may have been faster.
    assert!(swept.len() <= 1, "{swept:?}");
    gate.go_on.notify_one();
    job.result().await.expect("the next attempt succeeds");
    running.shutdown().await;
    assert_eq!(table.rows().await, [2]);
    let heard = heard.lock().expect("nobody panics");
    assert!(heard.contains(&Finished::Lost), "{heard:?}");
}

#[tokio::test]
async fn an_attempt_by_hand_is_rolled_back() {
    let schema = Schema::new().await;
    let table = Table::new(&schema).await;
    let pool: PgPool = pool().await;
    let run = transfer::perform(3).state(pool).state(table.clone()).await;
    assert_eq!(run.success(), 103);
    assert_eq!(table.rows().await, [0_i64; 0]);
}
