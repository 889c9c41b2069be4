//! The memory store, no queue.

use std::time::{Duration, Instant};

use bgjob::prelude::*;

use crate::{
    idle, latency, raw,
    report::Report,
    work::{Count, count_email, email, enqueue_from, fill, median, rate},
};

const N: u64 = 1_000_000;

pub async fn run(report: &mut Report) -> bgjob::Result<()> {
    let raw = median(async || Ok(raw::spawned(N).await)).await?;
    report.rate("memory: raw, tokio mpsc, one spawn a job", raw, None);
    let drain = median(drain).await?;
    report.rate(
        "memory: drain of a prefilled million",
        drain,
        Some((raw, 0.7)),
    );
    let both = median(both).await?;
    report.rate(
        "memory: enqueue (one task) and drain at once",
        both,
        Some((raw, 0.45)),
    );
    let many = JobManager::connect("memory:").await?;
    let rate = enqueue_from(&many, 256, Duration::from_secs(2)).await?;
    report.rate("memory: enqueue from 256 tasks, one run", rate, None);
    let (p50, p99) = latency::within("memory:").await?;
    report.figure("memory: idle pickup p50", p50, "ms", "≤ 0.2");
    report.figure("memory: idle pickup p99", p99, "ms", "");
    let idle = idle::share("memory:").await?;
    report.figure("memory: idle dispatcher", idle, "% core", "≤ 0.5");
    Ok(())
}

async fn drain() -> bgjob::Result<f64> {
    let jobs = JobManager::connect("memory:").await?;
    fill(N, |batch| count_email::enqueue_all(&jobs, batch)).await?;
    let count = Count::of(N);
    let begun = Instant::now();
    let running = JobDispatcher::builder(&jobs).start().await?;
    count.reached().await;
    let took = begun.elapsed();
    running.shutdown().await;
    Ok(rate(N, took))
}

async fn both() -> bgjob::Result<f64> {
    let jobs = JobManager::connect("memory:").await?;
    let running = JobDispatcher::builder(&jobs).start().await?;
    let count = Count::of(N);
    let begun = Instant::now();
    let producer = tokio::spawn({
        let jobs = jobs.clone();
        async move {
            for id in 0..N {
                count_email::enqueue(&jobs, email(id)).await?;
            }
            bgjob::Result::Ok(())
        }
    });
    producer.await.expect("it does not panic")?;
    count.reached().await;
    let took = begun.elapsed();
    running.shutdown().await;
    Ok(rate(N, took))
}
