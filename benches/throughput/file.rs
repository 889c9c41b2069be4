//! The file store, no queue: beside "create, sync, rename, sync the folder" of one file at a time,
//! which is what one durable document costs alone.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use bgjob::prelude::*;

use crate::{
    report::Report,
    work::{Count, count_email, email, enqueue_from, fill, median, rate},
};

const N: u64 = 2_000;

pub async fn run(report: &mut Report) -> bgjob::Result<()> {
    let raw = median(async || Ok(raw(200))).await?;
    report.rate("file: raw, one file at a time", raw, None);
    let all = median(async || enqueue_all().await).await?;
    report.rate("file: enqueue_all, 1,000 a call", all, Some((raw, 1.0)));
    let folder = Folder::new("tasks");
    let jobs = JobManager::connect(folder.url()).await?;
    let tasks = enqueue_from(&jobs, 256, Duration::from_secs(5)).await?;
    report.rate(
        "file: enqueue from 256 tasks, one run",
        tasks,
        Some((raw, 1.0)),
    );
    let drain = median(async || drain().await).await?;
    // A claim and an end are two durable writes.
    report.rate("file: drain", drain, Some((raw / 2.0, 1.0)));
    Ok(())
}

/// Durable documents a second, one after the other, by hand.
fn raw(n: u64) -> f64 {
    let folder = Folder::new("raw");
    let dir = File::open(&folder.0).expect("it opens");
    let begun = Instant::now();
    for id in 0..n {
        let bytes = serde_json::to_vec(&email(id)).expect("it encodes");
        let (new, there) = (folder.0.join("new"), folder.0.join(format!("{id}.json")));
        let mut file = File::create(&new).expect("it is made");
        file.write_all(&bytes).expect("it is written");
        file.sync_data().expect("it is synced");
        fs::rename(&new, &there).expect("it is renamed");
        dir.sync_all().expect("the folder is synced");
    }
    rate(n, begun.elapsed())
}

async fn enqueue_all() -> bgjob::Result<f64> {
    let folder = Folder::new("all");
    let jobs = JobManager::connect(folder.url()).await?;
    let begun = Instant::now();
    fill(N, |batch| count_email::enqueue_all(&jobs, batch)).await?;
    Ok(rate(N, begun.elapsed()))
}

async fn drain() -> bgjob::Result<f64> {
    let folder = Folder::new("drain");
    let jobs = JobManager::connect(folder.url()).await?;
    fill(N, |batch| count_email::enqueue_all(&jobs, batch)).await?;
    let count = Count::of(N);
    let begun = Instant::now();
    let running = JobDispatcher::builder(&jobs).start().await?;
    count.reached().await;
    let took = begun.elapsed();
    let _ = running.shutdown().await;
    Ok(rate(N, took))
}

/// A folder of one measurement, on the disk that temporary files are on; gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let name = format!("bgjob-bench-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).expect("the folder for temporary files can be written");
        Self(path)
    }

    fn url(&self) -> String {
        format!("file:{}", Path::join(&self.0, "jobs").display())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What can't be removed is the system's to clean up.
        fs::remove_dir_all(&self.0).ok();
    }
}
