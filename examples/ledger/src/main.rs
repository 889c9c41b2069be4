//! A ledger that books each transfer exactly once, at whatever step its worker dies.
//!
//! What a handler writes through its `JobTransaction` and the success of its job are one commit.
//! Here a worker process kills itself at each step of a transfer, one step a worker; then a healthy
//! worker does what is left. The table would take a transfer twice: nothing but the commit keeps it
//! from being there twice.
//!
//! ```text
//! cargo run -p ledger                                      # PostgreSQL has to be installed
//! cargo run -p ledger -- postgres://me@localhost/postgres  # or on this server
//! ```
//!
//! Without a server's URL it starts one of its own. On yours it makes a database and drops it in
//! the end. It takes some 15 s: a dead worker's lease (5 s), and the wait after a crash (5 s).
//!
//! * [`book`]: the job and its table
//! * [`worker`]: a process that dies at one step

mod book;
mod worker;

use std::{str::FromStr, time::Duration};

use bgjob::{BoxError, JobId, prelude::*, providers::postgres::PostgresOptions};
use bgjob_test_servers::postgres::Server;
use clap::{Parser, ValueEnum};
use sqlx::{
    AssertSqlSafe, ConnectOptions, PgPool,
    postgres::{PgConnectOptions, PgConnection},
    raw_sql,
};

use book::{Transfer, transfer};
use worker::{Doom, Step, Worker};

/// A ledger whose workers are killed.
#[derive(Debug, Parser)]
struct Args {
    /// A PostgreSQL server, and a user who may make databases; one is started if none is given.
    url: Option<String>,
    /// Be the worker that dies at this step, on this database.
    #[arg(long, hide = true, num_args = 2, value_names = ["STEP", "DATABASE"])]
    worker: Option<Vec<String>>,
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let args = Args::parse();
    if let (Some(url), Some([step, database])) = (&args.url, args.worker.as_deref()) {
        let step = Step::from_str(step, false)?;
        return worker::run(step, &Place::of(url, database)?).await;
    }
    let own = args.url.is_none().then(|| Server::start(&[]));
    let own_url = own.as_ref().map(Server::url);
    let url = args.url.or(own_url).expect("it is one or the other");
    let url = url.as_str();
    let database = format!("bgjob_ledger_{}", JobId::new()).replace('-', "_");
    let mut admin = PgConnectOptions::from_str(url)?.connect().await?;
    run_sql(&mut admin, format!("CREATE DATABASE {database}")).await?;
    let told = tell(url, &database).await;
    run_sql(&mut admin, format!("DROP DATABASE {database} WITH (FORCE)")).await?;
    told
}

async fn run_sql(db: &mut PgConnection, sql: String) -> sqlx::Result<()> {
    raw_sql(AssertSqlSafe(sql)).execute(db).await.map(drop)
}

/// The database, for the ledger and for its jobs: a `JobTransaction` writes to both.
struct Place(PgConnectOptions);

impl Place {
    fn of(url: &str, database: &str) -> sqlx::Result<Self> {
        Ok(Self(PgConnectOptions::from_str(url)?.database(database)))
    }

    async fn open(&self) -> Result<(PgPool, JobManager), BoxError> {
        let pool = PgPool::connect_with(self.0.clone()).await?;
        let store = PostgresOptions::from_pool(pool.clone()).open().await?;
        Ok((pool, JobManager::builder(store).build()?))
    }
}

async fn tell(url: &str, database: &str) -> Result<(), BoxError> {
    let place = Place::of(url, database)?;
    let (pool, jobs) = place.open().await?;
    book::make_table(&pool).await?;

    // A transfer for each step, and one that is left in peace.
    let mut handles = Vec::new();
    for step in Step::ALL {
        let order = Transfer {
            reference: step.to_string(),
            cents: 100,
        };
        let queue = step.queue();
        handles.push(transfer::enqueue(&jobs, order).queue(queue).await?);
    }

    // While this is held, the server can't end the commit that one of them is to die in.
    let mut gate = place.0.connect().await?;
    run_sql(&mut gate, "SELECT pg_advisory_lock(1)".to_owned()).await?;
    let doomed = Step::ALL.into_iter().filter(|step| *step != Step::Never);
    let workers: Vec<_> = doomed
        .map(|step| Worker::start(step, url, database))
        .collect::<std::io::Result<_>>()?;
    println!("each worker dies at one step of its transfer:");
    for worker in workers {
        let step = worker.step.to_string();
        // An exit code is what it would have if it had ended in any other way.
        let end = worker.ended()?.code();
        let end = end.map_or("killed".to_owned(), |code| format!("ended with {code}"));
        println!("{step:<24} {end}");
    }
    // The server goes on with it, although nobody listens any more. Then the lock is ours again.
    let through = "SELECT pg_advisory_unlock(1); SELECT pg_advisory_lock(1)";
    run_sql(&mut gate, through.to_owned()).await?;
    drop(gate);
    println!("\nall workers are dead, and the ledger has:");
    book::print(&pool).await?;

    let healthy = JobDispatcher::builder(&jobs)
        .state(pool.clone())
        .state(Doom::NONE)
        .serve_jobs([transfer::NAME])
        .serve_queues(Step::ALL.map(|step| step.queue()))
        .sweep_every(Duration::from_millis(500))
        .start()
        .await?;
    for job in handles {
        job.result().await?;
    }
    healthy.shutdown().await;
    println!("\nafter a healthy worker it has:");
    book::print(&pool).await?;
    book::print_balances(&pool).await?;
    Ok(())
}
