//! A store of one's own: jobs in a redb file, which bgjob knows nothing about.
//!
//! `redb/` has the store, a crate of its own that depends on `bgjob-core` alone. It passes every
//! case of the public suite: `tests/own_provider.rs`.

use std::path::Path;

use bgjob::{Durability, prelude::*};
use bgjob_redb as _;

/// Adds numbers up.
#[job(max_attempts = 2, backoff = "constant(10ms)")]
async fn add_up(numbers: Vec<u32>, ctx: JobContext) -> Result<u32, JobError> {
    if numbers.is_empty() && ctx.attempt() == 1 {
        return Err(JobError::retry("there is nothing to add up yet"));
    }
    Ok(numbers.iter().sum())
}

/// What a user writes: what is written for any other store.
async fn connect(path: &Path) -> bgjob::Result<JobManager> {
    let jobs = JobManager::connect(format!("redb:{}", path.display()));
    jobs.require(Durability::OsCrash).await
}

#[tokio::main]
async fn main() -> bgjob::Result<()> {
    let path = std::env::temp_dir().join(format!("bgjob-own-provider-{}.redb", std::process::id()));

    // One run of the program enqueues …
    let jobs = connect(&path).await?;
    let first = add_up::enqueue(&jobs, vec![1, 2, 3]).await?.id();
    let empty = add_up::enqueue(&jobs, vec![]).await?.id();
    let many = add_up::enqueue_all(&jobs, (0..100).map(|n| vec![n, n])).await?;
    println!("stored: {}", 2 + many.len());
    let twice = connect(&path).await.expect_err("redb takes one at a time");
    println!("opened twice: {twice}");
    drop((jobs, many));

    // … and another one finds the jobs in the file and runs them.
    let jobs = connect(&path).await?;
    let dispatcher = JobDispatcher::builder(&jobs).start().await?;
    for (what, id) in [("1 + 2 + 3", first), ("nothing", empty)] {
        let ended = jobs.handle::<u32>(id).ended().await?;
        println!(
            "{what}: {} after {} attempts",
            ended.state(),
            ended.errors + 1
        );
    }
    dispatcher.shutdown().await;

    drop(jobs);
    std::fs::remove_file(&path).expect("it is ours");
    Ok(())
}
