//! The work all measurements do: the same job, the same metadata.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use bgjob::prelude::*;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

/// About 150 bytes of JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Email {
    pub id: u64,
    pub to: String,
    pub body: String,
}

pub fn email(id: u64) -> Email {
    let body = "Dear user, this is a letter of about one hundred bytes, with words in it that say \
                nothing at all: 0123456.";
    Email {
        id,
        to: "user@example.com".to_owned(),
        body: body.to_owned(),
    }
}

static DONE: AtomicU64 = AtomicU64::new(0);
/// The count that somebody waits for.
static GOAL: AtomicU64 = AtomicU64::new(u64::MAX);
static REACHED: Notify = Notify::const_new();

/// What a job does: it counts.
pub fn handle(email: &Email) {
    std::hint::black_box(email.id);
    if DONE.fetch_add(1, Relaxed) + 1 == GOAL.load(Relaxed) {
        REACHED.notify_one();
    }
}

/// Counts `n` handled jobs from here on.
pub struct Count;

impl Count {
    pub fn of(n: u64) -> Self {
        DONE.store(0, Relaxed);
        GOAL.store(n, Relaxed);
        Self
    }

    pub async fn reached(self) {
        REACHED.notified().await;
    }
}

/// As a user writes it: kept for 24 hours.
#[job]
pub async fn count_email(meta: Email) {
    handle(&meta);
}

/// Deleted when it succeeds.
#[job(retain = "0s")]
pub async fn count_email_once(meta: Email) {
    handle(&meta);
}

/// Jobs a second.
pub fn rate(n: u64, took: Duration) -> f64 {
    n as f64 / took.as_secs_f64()
}

/// The median of three runs.
pub async fn median<F: Future<Output = bgjob::Result<f64>>>(
    mut run: impl FnMut() -> F,
) -> bgjob::Result<f64> {
    let mut rates = Vec::new();
    for _ in 0..3 {
        rates.push(run().await?);
    }
    rates.sort_by(f64::total_cmp);
    Ok(rates[1])
}

/// The medians of five runs each, in turns, as a disk's speed changes by the minute.
pub async fn in_turns<R, O>(
    mut raw: impl FnMut() -> R,
    mut ours: impl FnMut() -> O,
) -> bgjob::Result<(f64, f64)>
where
    R: Future<Output = bgjob::Result<f64>>,
    O: Future<Output = bgjob::Result<f64>>,
{
    let (mut limits, mut rates) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        limits.push(raw().await?);
        rates.push(ours().await?);
    }
    limits.sort_by(f64::total_cmp);
    rates.sort_by(f64::total_cmp);
    Ok((limits[2], rates[2]))
}

/// Many tasks that each enqueue one job at a time, for this long: jobs a second.
pub async fn enqueue_from(jobs: &JobManager, tasks: u64, span: Duration) -> bgjob::Result<f64> {
    let count = Arc::new(AtomicU64::new(0));
    let begun = Instant::now();
    let producers: Vec<_> = (0..tasks)
        .map(|_| {
            let (jobs, count) = (jobs.clone(), Arc::clone(&count));
            tokio::spawn(async move {
                while begun.elapsed() < span {
                    let n = count.fetch_add(1, Relaxed);
                    count_email_once::enqueue(&jobs, email(n)).await?;
                }
                bgjob::Result::Ok(())
            })
        })
        .collect();
    for producer in producers {
        producer.await.expect("a producer does not panic")?;
    }
    Ok(rate(count.load(Relaxed), begun.elapsed()))
}

/// Fills a store with this many jobs, a thousand at a time.
pub async fn fill<R: 'static>(
    n: u64,
    enqueue: impl Fn(Vec<Email>) -> bgjob::EnqueueAll<Email, R>,
) -> bgjob::Result<()> {
    let mut next = 0;
    while next < n {
        let end = n.min(next + 1000);
        enqueue((next..end).map(email).collect()).await?;
        next = end;
    }
    Ok(())
}

/// Runs what waits, until the store has recorded the end of all of it.
pub async fn run_all(jobs: &JobManager, n: u64) -> bgjob::Result<Duration> {
    let count = Count::of(n);
    let begun = Instant::now();
    let running = JobDispatcher::builder(jobs).start().await?;
    count.reached().await;
    running.shutdown().await;
    Ok(begun.elapsed())
}
