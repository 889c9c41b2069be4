//! awa, with the settings of its own benchmark: 1024 workers, claims of 512, no deadline (the
//! compact path), a look each 50 ms, bulk by COPY. `AWA_COMPLETION_SHARDS` is set to 2 by run.sh:
//! its default of 4 was slower on two cores.
#![forbid(unsafe_code)]

use std::{future::pending, sync::Arc, time::Duration};

use awa::{
    Client, JobResult, QueueConfig, QueueStorage, QueueStorageConfig, insert_with,
    model::{InsertOpts, JobArgs, insert::params_with, migrations},
};
use peers_common::{Email, Peer, Result, Rows, handle, run};
use serde::{Deserialize, Serialize};
use sqlx::{PgPool, postgres::PgPoolOptions};

#[derive(Serialize, Deserialize, Clone)]
#[serde(transparent)]
struct Send(Email);

impl JobArgs for Send {
    fn kind() -> &'static str {
        "email"
    }
}

#[derive(Clone)]
struct Awa {
    pool: PgPool,
    store: Arc<QueueStorage>,
}

fn options() -> InsertOpts {
    InsertOpts {
        queue: "email".to_owned(),
        ..Default::default()
    }
}

impl Peer for Awa {
    const NAME: &str = "awa";

    async fn open(url: String, _: Rows) -> Result<Self> {
        let pool = PgPoolOptions::new()
            .max_connections(32)
            .connect(&url)
            .await?;
        migrations::run(&pool).await?;
        let store = QueueStorage::new(QueueStorageConfig::default())?;
        // What the first start of a client does on a fresh database: without it jobs that are
        // enqueued before that go to older tables.
        store.prepare_schema(&pool).await?;
        sqlx::query("SELECT awa.storage_auto_finalize_if_fresh('awa')")
            .execute(&pool)
            .await?;
        let store = Arc::new(store);
        Ok(Self { pool, store })
    }

    async fn enqueue(&self, email: Email) -> Result<()> {
        insert_with(&self.pool, &Send(email), options()).await?;
        Ok(())
    }

    async fn enqueue_all(&self, emails: Vec<Email>) -> Result<()> {
        let jobs = emails
            .into_iter()
            .map(|email| params_with(&Send(email), options()));
        let jobs = jobs.collect::<Result<Vec<_>, _>>()?;
        self.store.enqueue_params_copy(&self.pool, &jobs).await?;
        Ok(())
    }

    async fn work(&self) -> Result<()> {
        let queue = QueueConfig {
            max_workers: 1024,
            claim_batch_size: 512,
            poll_interval: Duration::from_millis(50),
            deadline_duration: Duration::ZERO,
            ..Default::default()
        };
        let client = Client::builder(self.pool.clone())
            .queue("email", queue)
            .register::<Send, _, _>(|send: Send, _: &_| {
                handle(&send.0);
                async { Ok(JobResult::Completed) }
            })
            .build()?;
        client.start().await?;
        pending().await
    }

    /// A running job has no row of its own to count, so those that are over are counted.
    fn left(n: u64) -> String {
        format!(
            "SELECT ({n} - (SELECT count(*) FROM awa.done_entries) - coalesce((
                SELECT sum(completed_count) FROM awa.receipt_completion_batches), 0))::bigint"
        )
    }
}

fn main() {
    run::<Awa>();
}
