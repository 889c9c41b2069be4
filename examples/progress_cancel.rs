//! A long job reports how far it is, and ends when someone cancels it.

use std::sync::Arc;

use bgjob::{CancelReason, prelude::*};
use tokio::sync::Notify;

/// So that `main` knows when the job is half way.
struct HalfWay(Arc<Notify>);

/// Renders pages until it is done or told to stop.
#[job(timeout = "1h")]
async fn render(pages: u64, half_way: State<HalfWay>, ctx: JobContext) -> Result<u64, JobError> {
    for page in 1..=pages {
        // Cheap: the latest report travels with the renewals of the lease.
        ctx.report(Progress::of(page, pages).note(format!("page {page}")));
        println!("page {page} of {pages}");
        if page * 2 == pages {
            half_way.0.notify_one();
            // A job that awaits hears of a cancel at once …
            ctx.cancelled().await;
        }
        // … and one that computes asks now and then.
        if let Some(reason) = ctx.cancel_reason() {
            println!("stopped: {reason:?}");
            assert_eq!(reason, CancelReason::User);
            // A cancelled job ends Cancelled, whatever error it returns. One that succeeds all the
            // same has succeeded: done is done.
            return Err(JobError::retry("stopped"));
        }
    }
    Ok(pages)
}

#[tokio::main]
async fn main() -> bgjob::Result<()> {
    let jobs = JobManager::connect("memory:").await?;
    let notify = Arc::new(Notify::new());
    let half_way = HalfWay(Arc::clone(&notify));
    let dispatcher = JobDispatcher::builder(&jobs)
        .state(half_way)
        .start()
        .await?;

    let job = render::enqueue(&jobs, 4).await?;
    notify.notified().await;
    // A running job is asked to end: it is Running until its handler has returned.
    let at_first = job.cancel().await?;
    let ended = job.ended().await?;
    println!("cancelled: {at_first} at first, then {}", ended.state());
    println!(
        "result: {:?}",
        job.result().await.expect_err("there is none").kind()
    );

    // What it reported last is kept, for whoever wants to know how far it came.
    let progress = ended.progress.expect("it has reported");
    println!(
        "progress: {} of {:?}, {:?}",
        progress.done, progress.total, progress.note
    );

    // One that waits is over at once.
    let later = std::time::Duration::from_secs(3600);
    let waiting = render::enqueue(&jobs, 4).delay(later).await?;
    println!("cancelled before it began: {}", waiting.cancel().await?);

    dispatcher.shutdown().await;
    Ok(())
}
