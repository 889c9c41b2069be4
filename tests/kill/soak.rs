//! The scenario `soak`: a steady load for a long time, to see whether anything grows.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use bgjob::prelude::*;
use tokio::time::{interval, sleep};

use crate::{
    Ground,
    crew::{Crew, Terms},
    ledger::Tail,
    worker::chore,
};

const WORKERS: usize = 2;
/// Jobs every tenth of a second.
const LOAD: u64 = 20;
const SAMPLES: u32 = 60;
/// Goals, after warm-up.
const SLOPE_MIB: f64 = 1.0;
const WAL_MIB: f64 = 64.0;

/// What there is of everything at one moment.
#[derive(Clone, Copy, Default)]
struct Sample {
    hours: f64,
    rss: f64,
    files: f64,
    tasks: f64,
    database: f64,
    wal: f64,
}

pub(crate) async fn run(ground: &Ground) -> bgjob::Result<Vec<String>> {
    let span = Duration::from_secs(60 * ground.options.minutes);
    let jobs = ground.store.open(&ground.folder).await?;
    let mut crew = Crew::start(ground, WORKERS, Terms::default());
    let load = tokio::spawn(produce(jobs.clone()));
    let begun = Instant::now();
    println!("  minute    RSS MiB  files  tasks   db MiB  WAL MiB");
    let (mut samples, mut deaths) = (Vec::new(), 0);
    let mut tail = Tail::new(&ground.folder);
    let mut tasks = 0.0;
    while begun.elapsed() < span {
        sleep(span / SAMPLES).await;
        deaths += crew.replace_dead().len();
        let told = tail.more();
        let told = told.iter().rev().find(|line| line.what == "tasks");
        tasks = told.and_then(|l| l.about.parse().ok()).unwrap_or(tasks);
        let sample = Sample {
            hours: begun.elapsed().as_secs_f64() / 3600.0,
            tasks,
            ..Sample::take(&crew, &ground.folder)
        };
        sample.print();
        samples.push(sample);
    }
    load.abort();
    drop(crew);
    // The first third is warm-up.
    let warm = &samples[samples.len() / 3..];
    let rss = slope(warm, |sample| sample.rss);
    println!("  RSS slope after warm-up {rss:.2} MiB an hour and process");
    let flat = |of: fn(&Sample) -> f64, by: f64| grown(warm, of) <= by;
    let goals = [
        (deaths == 0, "workers died"),
        (rss < SLOPE_MIB, "memory grows"),
        (flat(|s| s.files, 2.0), "open files grow"),
        (flat(|s| s.tasks, 5.0), "tasks grow"),
        (flat(|s| s.database, 1.0), "the database grows"),
        (warm.iter().all(|s| s.wal < WAL_MIB), "the WAL is too large"),
    ];
    let missed = goals.iter().filter(|(good, _)| !good);
    Ok(missed.map(|(_, what)| (*what).to_owned()).collect())
}

async fn produce(jobs: JobManager) {
    let mut tick = interval(Duration::from_millis(100));
    loop {
        tick.tick().await;
        // One that is not acknowledged is missed by nobody here.
        let _ = chore::enqueue_all(&jobs, (0..LOAD).map(|n| n * 5)).await;
    }
}

impl Sample {
    /// Memory and files are per process; the harness is not counted.
    fn take(crew: &Crew, folder: &Path) -> Self {
        let n = crew.workers.len() as f64;
        let pids = || crew.workers.iter().map(|worker| worker.pid());
        Self {
            rss: pids().map(rss).sum::<f64>() / n,
            files: pids().map(files).sum::<f64>() / n,
            database: size(&folder.join("jobs.db")),
            wal: size(&folder.join("jobs.db-wal")),
            ..Self::default()
        }
    }

    fn print(&self) {
        let Self {
            hours,
            rss,
            files,
            tasks,
            database,
            wal,
        } = self;
        let minute = hours * 60.0;
        println!("  {minute:6.1} {rss:10.2} {files:6} {tasks:6} {database:8.2} {wal:8.2}");
    }
}

fn rss(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok());
    kib.unwrap_or_default() / 1024.0
}

fn files(pid: u32) -> f64 {
    let files = std::fs::read_dir(format!("/proc/{pid}/fd"));
    files.map_or(0.0, |files| files.count() as f64)
}

fn size(path: &Path) -> f64 {
    std::fs::metadata(path).map_or(0.0, |file| file.len() as f64 / (1 << 20) as f64)
}

/// Least squares: how much it grows an hour.
fn slope(samples: &[Sample], of: fn(&Sample) -> f64) -> f64 {
    let n = samples.len().max(1) as f64;
    let x = samples.iter().map(|s| s.hours).sum::<f64>() / n;
    let y = samples.iter().map(of).sum::<f64>() / n;
    let both = samples.iter().map(|s| (s.hours - x) * (of(s) - y));
    let square = samples.iter().map(|s| (s.hours - x).powi(2)).sum::<f64>();
    both.sum::<f64>() / square.max(f64::MIN_POSITIVE)
}

/// How much more the second half has at its most than the first.
fn grown(samples: &[Sample], of: fn(&Sample) -> f64) -> f64 {
    let (first, second) = samples.split_at(samples.len() / 2);
    let most = |half: &[Sample]| half.iter().map(of).fold(0.0, f64::max);
    most(second) - most(first)
}
