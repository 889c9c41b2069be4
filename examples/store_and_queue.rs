//! Store and queue apart: jobs in SQLite, hints through a channel. And why it does no harm to lose
//! every hint there is.

use std::{sync::Arc, time::Duration};

use bgjob::{JobQueue, Want, prelude::*};

#[job(queue = "pictures")]
async fn shrink(picture: u32) -> Result<u32, JobError> {
    Ok(picture / 2)
}

/// A queue that loses what it has: here, somebody takes all hints and does nothing with them.
async fn lose_all(queue: &Arc<dyn JobQueue>) -> bgjob::Result<()> {
    let (name, max) = ("pictures", 100);
    let want = [Want::new(name, max)];
    let taken = queue.receive(&want, Duration::ZERO).await?;
    let receipts: Vec<_> = taken.into_iter().map(|one| one.receipt).collect();
    queue.ack(&receipts).await
}

#[tokio::main]
async fn main() -> bgjob::Result<()> {
    let folder = std::env::temp_dir().join(format!("bgjob-store-and-queue-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("temporary files can be written");
    let url = format!("sqlite:{}", folder.join("jobs.db").display());

    // A URL each. `JobManager::builder(store).queue(queue)` takes ready-made ones instead.
    let jobs = JobManager::connect(url).queue_url("channel:").await?;
    let queue = Arc::clone(jobs.queue().expect("it was given one"));
    println!("store: {}", jobs.store().capabilities().name);
    println!("queue: {}", queue.capabilities().name);

    // A job is stored, then hinted at.
    let many = shrink::enqueue_all(&jobs, [10, 20, 30]).await?;
    let waiting: u64 = jobs.counts().await?.iter().map(|count| count.due).sum();
    println!("{waiting} jobs, {} hints", queue.depth("pictures").await?);

    // Hints carry an id and no truth …
    lose_all(&queue).await?;
    println!("{waiting} jobs, {} hints", queue.depth("pictures").await?);

    // … so a dispatcher with nothing to do looks into the store itself.
    let dispatcher = JobDispatcher::builder(&jobs).start().await?;
    for job in &many {
        println!("shrunk to {}", job.result().await?);
    }

    // With hints there it need not look: what is new is received at once.
    let job = shrink::enqueue(&jobs, 40).await?;
    println!("shrunk to {}", job.result().await?);
    dispatcher.shutdown().await;
    println!("{} hints left", queue.depth("pictures").await?);

    drop((jobs, many, job));
    std::fs::remove_dir_all(&folder).expect("the folder is ours");
    Ok(())
}
