//! bgjob: manager and dispatcher with their default settings.
#![forbid(unsafe_code)]

use std::future::pending;

use bgjob::prelude::*;
use peers_common::{Email, Peer, Result, Rows, handle, run};

/// As a user writes it: kept for 24 hours.
#[job]
async fn count_email(meta: Email) {
    handle(&meta);
}

/// Deleted when it succeeds.
#[job(retain = "0s")]
async fn count_email_once(meta: Email) {
    handle(&meta);
}

#[derive(Clone)]
struct Bgjob {
    jobs: JobManager,
    rows: Rows,
}

impl Peer for Bgjob {
    const NAME: &str = "bgjob";

    async fn open(url: String, rows: Rows) -> Result<Self> {
        let jobs = JobManager::connect(url).await?;
        Ok(Self { jobs, rows })
    }

    async fn enqueue(&self, email: Email) -> Result<()> {
        match self.rows {
            Rows::Kept => _ = count_email::enqueue(&self.jobs, email).await?,
            Rows::Deleted => _ = count_email_once::enqueue(&self.jobs, email).await?,
        }
        Ok(())
    }

    async fn enqueue_all(&self, emails: Vec<Email>) -> Result<()> {
        match self.rows {
            Rows::Kept => _ = count_email::enqueue_all(&self.jobs, emails).await?,
            Rows::Deleted => _ = count_email_once::enqueue_all(&self.jobs, emails).await?,
        }
        Ok(())
    }

    async fn work(&self) -> Result<()> {
        let _running = JobDispatcher::builder(&self.jobs).start().await?;
        pending().await
    }

    fn left(_: u64) -> String {
        "SELECT count(*) FROM bgjob.jobs".to_owned()
    }
}

fn main() {
    run::<Bgjob>();
}
