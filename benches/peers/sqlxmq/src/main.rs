//! sqlxmq, 200 jobs at a time. It has no bulk call.
//!
//! Its tables are made by the migrations in its package, which an application is to copy: run.sh
//! says in `SQLXMQ_MIGRATIONS` where they are.
#![forbid(unsafe_code)]

use std::{env, future::pending, path::PathBuf};

use peers_common::{Email, Error, Peer, Result, Rows, handle, run};
use sqlx::{PgPool, migrate::Migrator, postgres::PgPoolOptions};
use sqlxmq::{CurrentJob, JobRegistry, job};
use tokio::task::JoinSet;

#[job(channel_name = "emails")]
async fn send(mut job: CurrentJob) -> Result<()> {
    let email: Email = job.json()?.ok_or("a job has an email")?;
    handle(&email);
    job.complete().await?;
    Ok(())
}

#[derive(Clone)]
struct Sqlxmq(PgPool);

impl Peer for Sqlxmq {
    const NAME: &str = "sqlxmq";
    const HAS_BULK: bool = false;

    async fn open(url: String, _: Rows) -> Result<Self> {
        let pool = PgPoolOptions::new()
            .max_connections(20)
            .connect(&url)
            .await?;
        let folder = PathBuf::from(env::var("SQLXMQ_MIGRATIONS")?);
        Migrator::new(folder).await?.run(&pool).await?;
        Ok(Self(pool))
    }

    async fn enqueue(&self, email: Email) -> Result<()> {
        send.builder().set_json(&email)?.spawn(&self.0).await?;
        Ok(())
    }

    /// Only to fill it: by 16 calls at a time.
    async fn enqueue_all(&self, emails: Vec<Email>) -> Result<()> {
        let mut tasks = JoinSet::new();
        for part in emails.chunks(emails.len().div_ceil(16)) {
            let (peer, part) = (self.clone(), part.to_vec());
            tasks.spawn(async move {
                for email in part {
                    peer.enqueue(email).await?;
                }
                Ok::<_, Error>(())
            });
        }
        while let Some(ended) = tasks.join_next().await {
            ended??;
        }
        Ok(())
    }

    async fn work(&self) -> Result<()> {
        let mut runner = JobRegistry::new(&[send]).runner(&self.0);
        let _running = runner.set_concurrency(100, 200).run().await?;
        pending().await
    }

    fn left(_: u64) -> String {
        "SELECT count(*) FROM mq_msgs WHERE id <> '00000000-0000-0000-0000-000000000000'".to_owned()
    }
}

fn main() {
    run::<Sqlxmq>();
}
