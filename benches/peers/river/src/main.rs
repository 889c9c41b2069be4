//! riverqueue, with the settings of its own benchmark: 2000 workers, a fetch cooldown of 2 ms, a
//! look each 20 ms, 50 connections. By default it fetches at most ten times a second.
#![forbid(unsafe_code)]

use std::time::Duration;

use peers_common::{Email, Peer, Result, Rows, handle, run};
use riverqueue::{
    BoxError, Client, Job, JobArgs, QueueConfig, WorkContext, WorkOutcome, Workers,
    migrate::PostgresMigrator, sqlx::postgres::PgPoolOptions,
};
use serde::{Deserialize, Serialize};
use std::future::pending;

#[derive(Serialize, Deserialize, Clone, Debug)]
#[serde(transparent)]
struct Send(Email);

impl JobArgs for Send {
    const KIND: &'static str = "email";
}

async fn work(_: WorkContext, job: Job<Send>) -> Result<WorkOutcome, BoxError> {
    handle(&job.args.0);
    Ok(WorkOutcome::Complete)
}

#[derive(Clone)]
struct River(Client);

impl Peer for River {
    const NAME: &str = "riverqueue";

    async fn open(url: String, _: Rows) -> Result<Self> {
        let pool = PgPoolOptions::new()
            .max_connections(50)
            .connect(&url)
            .await?;
        PostgresMigrator::new(pool.clone()).migrate_up().await?;
        let mut workers = Workers::new();
        workers.add_fn(work)?;
        let queue = QueueConfig::new(2000).with_fetch_poll_interval(Duration::from_millis(20));
        let client = Client::builder(pool)
            .workers(workers)
            // It also limits how often an insert notifies.
            .fetch_cooldown(Duration::from_millis(2))
            .queue("default", queue)
            .build()?;
        Ok(Self(client))
    }

    async fn enqueue(&self, email: Email) -> Result<()> {
        self.0.insert(Send(email)).await?;
        Ok(())
    }

    async fn enqueue_all(&self, emails: Vec<Email>) -> Result<()> {
        self.0.insert_many(emails.into_iter().map(Send)).await?;
        Ok(())
    }

    async fn work(&self) -> Result<()> {
        let _running = self.0.start()?;
        pending().await
    }

    fn left(_: u64) -> String {
        "SELECT count(*) FROM river_job WHERE state <> 'completed'".to_owned()
    }
}

fn main() {
    run::<River>();
}
