//! graphile_worker, as its documentation sets up a worker for throughput: a local queue and
//! completions in batches; sizes are those that were fastest here.
#![forbid(unsafe_code)]

use std::{sync::Arc, time::Duration};

use graphile_worker::{
    IntoTaskHandlerResult, JobSpec, LocalQueueConfig, TaskHandler, Worker, WorkerContext,
    WorkerOptions,
};
use peers_common::{Email, Peer, Result, Rows, handle, run};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Clone)]
#[serde(transparent)]
struct Send(Email);

impl TaskHandler for Send {
    const IDENTIFIER: &'static str = "email";

    async fn run(self, _: WorkerContext) -> impl IntoTaskHandlerResult {
        handle(&self.0);
        Ok::<(), String>(())
    }
}

#[derive(Clone)]
struct Graphile(Arc<Worker>);

impl Peer for Graphile {
    const NAME: &str = "graphile_worker";

    async fn open(url: String, _: Rows) -> Result<Self> {
        let batched = Duration::from_millis(5);
        let worker = WorkerOptions::default()
            .database_url(&url)
            .schema("graphile_worker")
            .define_job::<Send>()
            .concurrency(16)
            .max_pg_conn(20)
            .poll_interval(Duration::from_millis(100))
            .complete_job_batch_delay(batched)
            .fail_job_batch_delay(batched)
            .local_queue(LocalQueueConfig::default().with_size(1000))
            .init()
            .await?;
        Ok(Self(Arc::new(worker)))
    }

    async fn enqueue(&self, email: Email) -> Result<()> {
        let jobs = self.0.create_utils();
        jobs.add_job(Send(email), JobSpec::default()).await?;
        Ok(())
    }

    async fn enqueue_all(&self, emails: Vec<Email>) -> Result<()> {
        let spec = JobSpec::default();
        let emails: Vec<_> = emails
            .into_iter()
            .map(|email| (Send(email), &spec))
            .collect();
        self.0.create_utils().add_jobs::<Send>(&emails).await?;
        Ok(())
    }

    async fn work(&self) -> Result<()> {
        let worker = Arc::clone(&self.0);
        tokio::spawn(async move { worker.run().await }).await??;
        Ok(())
    }

    fn left(_: u64) -> String {
        "SELECT count(*) FROM graphile_worker._private_jobs".to_owned()
    }
}

fn main() {
    run::<Graphile>();
}
