//! The smallest program there is: one job, enqueued and run.

use bgjob::prelude::*;

/// Says hello.
#[job]
async fn hello(name: String) -> Result<String, JobError> {
    Ok(format!("Hello, {name}!"))
}

#[tokio::main]
async fn main() -> bgjob::Result<()> {
    let jobs = JobManager::connect("memory:").await?;
    let job = hello::enqueue(&jobs, "world".to_owned()).await?;

    let dispatcher = JobDispatcher::builder(&jobs).start().await?;
    println!("{}", job.result().await?);

    let drained = dispatcher.shutdown().await;
    println!("given back: {}", drained.released);
    Ok(())
}
