//! What a dispatcher costs that has nothing to do.

use std::{
    collections::HashMap,
    ffi::OsString,
    time::{Duration, Instant},
};

use bgjob::prelude::*;

/// Percent of one core, over ten seconds.
pub async fn share(url: &str) -> bgjob::Result<f64> {
    let jobs = JobManager::connect(url).await?;
    let running = JobDispatcher::builder(&jobs).start().await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (before, begun) = (cpu(), Instant::now());
    tokio::time::sleep(Duration::from_secs(10)).await;
    let spent: u64 = cpu()
        .iter()
        // A thread that has ended since is not counted: it was of the measurement before.
        .map(|(thread, nanos)| nanos - before.get(thread).unwrap_or(&0))
        .sum();
    let share = spent as f64 / begun.elapsed().as_nanos() as f64 * 100.0;
    running.shutdown().await;
    Ok(share)
}

/// Processor time of each thread of this process, as Linux counts it: in nanoseconds.
fn cpu() -> HashMap<OsString, u64> {
    let threads = std::fs::read_dir("/proc/self/task").expect("this measurement needs Linux");
    let nanos = threads.flatten().filter_map(|thread| {
        let text = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        let nanos = text.split(' ').next()?.parse().ok()?;
        Some((thread.file_name(), nanos))
    });
    nanos.collect()
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
