//! Services for jobs: `State<T>`, an extractor of one's own, and code around every job.

use std::{collections::BTreeMap, sync::Mutex};

use bgjob::{Json, Middleware, Next, extract::Needs, prelude::*};

/// A service: here the accounts of a small bank.
#[derive(Debug, Default)]
struct Bank(Mutex<BTreeMap<String, i64>>);

/// An extractor of one's own: the account of the tenant whom the job belongs to.
struct Account {
    bank: State<Bank>,
    tenant: String,
}

impl FromContext for Account {
    type Error = JobError;

    async fn from_context(ctx: &JobContext) -> Result<Self, JobError> {
        // Without a tenant trying again is of no use; an extractor may say so.
        let tenant = ctx.headers().get("tenant").cloned();
        let tenant = tenant.ok_or_else(|| JobError::abort("the header `tenant` is missing"))?;
        Ok(Self {
            bank: State::from_context(ctx).await?,
            tenant,
        })
    }

    // Says what it needs, so that a dispatcher without a bank does not even start.
    fn needs(needs: &mut Needs) {
        State::<Bank>::needs(needs);
    }
}

#[job]
async fn deposit(amount: i64, account: Account) -> Result<i64, JobError> {
    let mut accounts = account.bank.0.lock().expect("no job panics with the lock");
    let balance = accounts.entry(account.tenant).or_default();
    *balance += amount;
    Ok(*balance)
}

/// Middleware: an audit log that hears how each job ended.
struct Audit;

#[async_trait::async_trait]
impl Middleware for Audit {
    async fn handle(&self, job: JobContext, next: Next<'_>) -> Outcome<Json> {
        let outcome = next.run(job.clone()).await;
        let tenant = job.headers().get("tenant").map_or("nobody", String::as_str);
        let how = match &outcome {
            Outcome::Success(_) => "done",
            Outcome::Snooze(_) => "later",
            Outcome::Retry { failure, .. } | Outcome::Abort { failure, .. } => failure.message(),
        };
        println!("audit: {} for {tenant}: {how}", job.name());
        outcome
    }
}

#[tokio::main]
async fn main() -> bgjob::Result<()> {
    let jobs = JobManager::connect("memory:").await?;

    // What is missing is told at the start, not at the first job.
    let builder = JobDispatcher::builder(&jobs);
    println!("{}", builder.start().await.expect_err("there is no bank"));

    let builder = JobDispatcher::builder(&jobs).state(Bank::default());
    let dispatcher = builder.middleware(Audit).start().await?;
    let job = deposit::enqueue(&jobs, 100).header("tenant", "ada").await?;
    println!("balance: {}", job.result().await?);
    let job = deposit::enqueue(&jobs, 5).await?;
    let error = job.result().await.expect_err("it has no tenant");
    println!("then: {:?}", error.kind());

    let _ = dispatcher.shutdown().await;
    Ok(())
}
