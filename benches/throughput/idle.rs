//! What a dispatcher costs that has nothing to do.

use std::time::{Duration, Instant};

use bgjob::prelude::*;

/// Percent of one core, over ten seconds.
pub async fn share(url: &str) -> bgjob::Result<f64> {
    let jobs = JobManager::connect(url).await?;
    let running = JobDispatcher::builder(&jobs).start().await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (before, begun) = (cpu(), Instant::now());
    tokio::time::sleep(Duration::from_secs(10)).await;
    let share = (cpu() - before).as_secs_f64() / begun.elapsed().as_secs_f64() * 100.0;
    let _ = running.shutdown().await;
    Ok(share)
}

/// Processor time of this process, as Linux counts it: in nanoseconds, over all threads.
fn cpu() -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").expect("this measurement needs Linux");
    let nanos = tasks.flatten().filter_map(|task| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanos.sum())
}

/// Resident memory of this process, in MiB.
pub fn rss() -> f64 {
    let text = std::fs::read_to_string("/proc/self/statm").expect("this measurement needs Linux");
    let pages: u64 = text
        .split(' ')
        .nth(1)
        .and_then(|n| n.parse().ok())
        .expect("statm has it");
    (pages * 4096) as f64 / f64::from(1 << 20)
}
