//! Code around every job: a request's id that follows it from job to job, an audit log, and a
//! switch that makes a whole queue wait.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use bgjob::{JobId, Json, Middleware, Next, prelude::*};

tokio::task_local! {
    /// The request that the running job belongs to.
    static REQUEST: String;
}

/// Hands the request on: from the header of a job to all that the job calls.
struct Trace;

#[async_trait::async_trait]
impl Middleware for Trace {
    async fn handle(&self, job: JobContext, next: Next<'_>) -> Outcome<Json> {
        let request = job.headers().get("request").cloned();
        REQUEST
            .scope(request.unwrap_or_default(), next.run(job))
            .await
    }
}

/// Keeps how each attempt ended, and for whom: it is written before anybody else hears of the end.
#[derive(Clone, Default)]
struct Audit(Arc<Mutex<Vec<String>>>);

#[async_trait::async_trait]
impl Middleware for Audit {
    async fn handle(&self, job: JobContext, next: Next<'_>) -> Outcome<Json> {
        let outcome = next.run(job.clone()).await;
        let how = match &outcome {
            Outcome::Success(_) => "done",
            Outcome::Snooze(_) => "later",
            Outcome::Retry { failure, .. } | Outcome::Abort { failure, .. } => failure.message(),
        };
        let request = REQUEST.with(Clone::clone);
        let line = format!("{request}: {}, start {}: {how}", job.name(), job.fence());
        self.0.lock().expect("nobody panics with it").push(line);
        outcome
    }
}

/// Holds the jobs of a queue back while what they need is down. They wait at no cost: a snooze
/// spends no attempt.
struct Switch(AtomicBool);

#[async_trait::async_trait]
impl Middleware for Switch {
    async fn handle(&self, job: JobContext, next: Next<'_>) -> Outcome<Json> {
        // Not calling `next` leaves the job out.
        if self.0.swap(false, Relaxed) {
            return Outcome::Snooze(Duration::from_millis(50));
        }
        next.run(job).await
    }
}

#[job]
async fn pay(amount: u32, jobs: State<JobManager>) -> Result<JobId, JobError> {
    if amount == 0 {
        return Err(JobError::abort("there is nothing to pay"));
    }
    // The job that follows belongs to the same request; nobody had to pass it down to here.
    let request = REQUEST.with(Clone::clone);
    let mail = send_receipt::enqueue(&jobs, amount).header("request", request);
    Ok(mail.await.map_err(JobError::retry)?.id())
}

#[job(queue = "mail")]
async fn send_receipt(amount: u32) -> Result<String, JobError> {
    let request = REQUEST.with(Clone::clone);
    Ok(format!("{amount} paid, thank you ({request})"))
}

#[tokio::main]
async fn main() -> bgjob::Result<()> {
    let jobs = JobManager::connect("memory:").await?;
    let audit = Audit::default();
    let dispatcher = JobDispatcher::builder(&jobs)
        .state(jobs.clone())
        .middleware(Trace) // added first, so outermost: the audit knows the request too
        .middleware(audit.clone())
        .middleware_for("mail", Switch(AtomicBool::new(true)))
        .start()
        .await?;

    let paid = pay::enqueue(&jobs, 100).header("request", "r-17").await?;
    let mail = jobs.handle::<String>(paid.result().await?);
    println!("mail: {}", mail.result().await?);

    let paid = pay::enqueue(&jobs, 0).header("request", "r-18").await?;
    let error = paid.result().await.expect_err("there is nothing to pay");
    println!("then: {:?}", error.kind());

    dispatcher.shutdown().await;
    let mut lines = audit.0.lock().expect("nobody panics with it").clone();
    lines.sort(); // a job that follows may end before the one that enqueued it
    println!("audit:\n  {}", lines.join("\n  "));
    Ok(())
}
