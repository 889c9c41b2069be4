//! Services for jobs: `State<T>`, and an extractor of one's own.

use std::{collections::BTreeMap, sync::Mutex};

use bgjob::{extract::Needs, prelude::*};

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

#[tokio::main]
async fn main() -> bgjob::Result<()> {
    let jobs = JobManager::connect("memory:").await?;

    // What is missing is told at the start, not at the first job.
    let builder = JobDispatcher::builder(&jobs);
    println!("{}", builder.start().await.expect_err("there is no bank"));

    let builder = JobDispatcher::builder(&jobs).state(Bank::default());
    let dispatcher = builder.start().await?;
    let job = deposit::enqueue(&jobs, 100).header("tenant", "ada").await?;
    println!("balance: {}", job.result().await?);
    let job = deposit::enqueue(&jobs, 5).await?;
    let error = job.result().await.expect_err("it has no tenant");
    println!("then: {:?}", error.kind());

    dispatcher.shutdown().await;
    Ok(())
}
