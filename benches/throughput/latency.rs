//! From the enqueue call to the start of the handler, on a dispatcher that has nothing else to do.

use std::{
    process::Stdio,
    sync::Mutex,
    time::{Duration, Instant, SystemTime},
};

use bgjob::prelude::*;
use tokio::time::{MissedTickBehavior, interval, sleep};

pub const SAMPLES: usize = 200;
static TOOK: Mutex<Vec<Duration>> = Mutex::new(Vec::new());

/// Notes how long ago the wall clock said what its metadata says, in nanoseconds.
#[job]
async fn note_latency(sent: u64) {
    let sent = SystemTime::UNIX_EPOCH + Duration::from_nanos(sent);
    let took = sent.elapsed().unwrap_or_default();
    TOOK.lock().expect("nobody panics with it").push(took);
}

async fn send(jobs: &JobManager) -> bgjob::Result<()> {
    let mut tick = interval(Duration::from_millis(20));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for _ in 0..SAMPLES {
        tick.tick().await;
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .expect("after 1970");
        note_latency::enqueue(jobs, now.as_nanos() as u64).await?;
    }
    Ok(())
}

/// Waits for all samples: p50 and p99 in milliseconds.
async fn percentiles() -> (f64, f64) {
    let begun = Instant::now();
    let samples = || TOOK.lock().expect("nobody panics with it").len();
    while samples() < SAMPLES {
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "only {} came",
            samples()
        );
        sleep(Duration::from_millis(5)).await;
    }
    percentiles_of(std::mem::take(
        &mut *TOOK.lock().expect("nobody panics with it"),
    ))
}

/// p50 and p99 in milliseconds.
pub fn percentiles_of(mut took: Vec<Duration>) -> (f64, f64) {
    took.sort();
    let at = |share: f64| took[(took.len() as f64 * share) as usize].as_secs_f64() * 1e3;
    (at(0.5), at(0.99))
}

/// Producer and dispatcher in one process.
pub async fn within(url: &str) -> bgjob::Result<(f64, f64)> {
    let jobs = JobManager::connect(url).await?;
    let running = JobDispatcher::builder(&jobs).start().await?;
    sleep(Duration::from_millis(500)).await;
    send(&jobs).await?;
    let answer = percentiles().await;
    running.shutdown().await;
    Ok(answer)
}

/// The producer in a process of its own.
pub async fn across(url: &str) -> bgjob::Result<(f64, f64)> {
    let jobs = JobManager::connect(url).await?;
    let running = JobDispatcher::builder(&jobs).start().await?;
    let me = std::env::current_exe().expect("it has a path");
    let mut child = std::process::Command::new(me)
        .args(["--producer", url])
        .stdout(Stdio::null())
        .spawn()
        .expect("it starts");
    let answer = percentiles().await;
    child.wait().expect("it ends");
    running.shutdown().await;
    Ok(answer)
}

/// What the other process does.
pub async fn produce(url: &str) -> bgjob::Result<()> {
    let jobs = JobManager::connect(url).await?;
    sleep(Duration::from_millis(500)).await;
    send(&jobs).await
}
