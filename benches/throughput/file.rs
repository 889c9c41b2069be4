//! The file store, no queue: beside "create, sync, rename, sync the folder" of one file at a time,
//! which is what one durable document costs alone.

use std::{
    fs::{self, File},
    io::Write,
    time::{Duration, Instant},
};

use bgjob::prelude::*;

use crate::{
    place::Place,
    report::Report,
    work::{count_email, email, enqueue_from, fill, median, rate, run_all},
};

const N: u64 = 2_000;

pub async fn run(report: &mut Report) -> bgjob::Result<()> {
    let raw = median(async || Ok(raw(200))).await?;
    report.rate("file: raw, one file at a time", raw, None);
    let all = median(enqueue_all).await?;
    report.rate("file: enqueue_all by 1,000", all, Some((raw, 1.0)));
    let place = Place::new();
    let jobs = JobManager::connect(place.url("file")).await?;
    let tasks = enqueue_from(&jobs, 256, Duration::from_secs(5)).await?;
    report.rate(
        "file: enqueue from 256 tasks, one run",
        tasks,
        Some((raw, 1.0)),
    );
    let one = enqueue_from(&jobs, 1, Duration::from_secs(5)).await?;
    report.rate("file: enqueue from 1 task, one run", one, Some((raw, 0.3)));
    let drain = median(drain).await?;
    // A claim and an end are two durable writes.
    report.rate("file: drain", drain, Some((raw / 2.0, 1.0)));
    Ok(())
}

/// Durable documents a second, one after the other, by hand.
fn raw(n: u64) -> f64 {
    let place = Place::new();
    let folder = File::open(place.at("")).expect("it opens");
    let begun = Instant::now();
    for id in 0..n {
        let bytes = serde_json::to_vec(&email(id)).expect("it encodes");
        let (new, there) = (place.at("new"), place.at(&format!("{id}.json")));
        let mut file = File::create(&new).expect("it is made");
        file.write_all(&bytes).expect("it is written");
        file.sync_all().expect("it is synced");
        fs::rename(&new, &there).expect("it is renamed");
        folder.sync_all().expect("the folder is synced");
    }
    rate(n, begun.elapsed())
}

async fn enqueue_all() -> bgjob::Result<f64> {
    let place = Place::new();
    let jobs = JobManager::connect(place.url("file")).await?;
    let begun = Instant::now();
    fill(N, |batch| count_email::enqueue_all(&jobs, batch)).await?;
    Ok(rate(N, begun.elapsed()))
}

async fn drain() -> bgjob::Result<f64> {
    let place = Place::new();
    let jobs = JobManager::connect(place.url("file")).await?;
    fill(N, |batch| count_email::enqueue_all(&jobs, batch)).await?;
    run_all(&jobs, N).await.map(|took| rate(N, took))
}
