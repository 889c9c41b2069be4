//! apalis-postgres, as its documentation sets up a worker that is notified; batches of 1,000.
//!
//! `persist_results(false)` would be faster, and wrong: completions are then never written.
#![forbid(unsafe_code)]

use std::time::Duration;

use apalis::prelude::*;
use apalis_postgres::{Config, PgPool, PostgresStorage};
use peers_common::{Email, Peer, Result, Rows, handle, run};

#[derive(Clone)]
struct Apalis(PostgresStorage<Email>);

async fn send(email: Email) -> Result<(), BoxDynError> {
    handle(&email);
    Ok(())
}

impl Peer for Apalis {
    const NAME: &str = "apalis-postgres";

    async fn open(url: String, _: Rows) -> Result<Self> {
        let pool = PgPool::connect(&url).await?;
        PostgresStorage::setup(&pool).await?;
        let config = Config::default()
            .queue("emails")
            .batch_size(1000)
            .lock_tasks(false);
        Ok(Self(PostgresStorage::new(&pool).with_config(config)))
    }

    async fn enqueue(&self, email: Email) -> Result<()> {
        self.0.clone().push(email).await?;
        Ok(())
    }

    async fn enqueue_all(&self, emails: Vec<Email>) -> Result<()> {
        self.0.clone().push_bulk(emails).await?;
        Ok(())
    }

    async fn work(&self) -> Result<()> {
        let storage = self.0.clone().with_pubsub();
        let strategy = Strategy::new().interval(Duration::from_millis(50));
        WorkerBuilder::new("worker")
            .backend(storage.poll_with_strategy(strategy))
            .concurrency(100)
            .parallelize(tokio::spawn)
            .build(send)
            .run()
            .await?;
        Ok(())
    }

    fn left(_: u64) -> String {
        "SELECT count(*) FROM apalis.jobs WHERE status <> 'Done'".to_owned()
    }
}

fn main() {
    run::<Apalis>();
}
