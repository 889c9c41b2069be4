//! The SQLite store, no queue: durable (`synchronous=FULL`) as it is by default.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use bgjob::prelude::*;

use crate::{
    idle, latency,
    place::Place,
    raw::Table,
    report::Report,
    work::{Count, count_email, count_email_once, enqueue_from, fill, median, rate, run_all},
};

const N: u64 = 200_000;

pub async fn run(report: &mut Report) -> bgjob::Result<()> {
    let raw_100 = raw(|path| Table::create(path).insert(N, 100)).await?;
    report.rate("sqlite: raw insert, batches of 100", raw_100, None);
    let raw_1000 = raw(|path| Table::create(path).insert(N, 1000)).await?;
    report.rate("sqlite: raw insert, batches of 1,000", raw_1000, None);
    let raw_drain = raw(|path| {
        let mut table = Table::create(path);
        table.insert(N, 1000);
        table.drain(N, 1000)
    })
    .await?;
    report.rate(
        "sqlite: raw claim + delete, batches of 1,000",
        raw_drain,
        None,
    );

    let bulk = median(bulk).await?;
    report.rate("sqlite: enqueue_all by 1,000", bulk, Some((raw_1000, 0.4)));
    let many = median(|| many(256)).await?;
    report.rate("sqlite: enqueue from 256 tasks", many, Some((raw_100, 0.4)));
    let one = median(|| self::many(1)).await?;
    report.rate("sqlite: enqueue from 1 task", one, None);
    let gone = median(|| drain(Kept::No)).await?;
    report.rate(
        "sqlite: drain, deleted at success",
        gone,
        Some((raw_drain, 0.35)),
    );
    let kept = median(|| drain(Kept::Yes)).await?;
    report.rate("sqlite: drain, kept 24 h (the default)", kept, None);

    let place = Place::new();
    let file = place.at("jobs.db");
    let commit = tokio::task::spawn_blocking(move || Table::create(&file).commit_after_idle());
    let commit = commit.await.expect("it does not panic");
    report.figure(
        "sqlite: raw, one insert + commit after idle p50",
        commit,
        "ms",
        "",
    );
    let place = Place::new();
    let (p50, p99) = latency::within(&place.url("sqlite")).await?;
    report.figure("sqlite: idle pickup p50", p50, "ms", "≤ 1");
    report.figure("sqlite: idle pickup p99", p99, "ms", "");
    let (p50, p99) = latency::across(&place.url("sqlite")).await?;
    report.figure(
        "sqlite: idle pickup across two processes p50",
        p50,
        "ms",
        "",
    );
    report.figure(
        "sqlite: idle pickup across two processes p99",
        p99,
        "ms",
        "≤ 60",
    );
    let idle = idle::share(&place.url("sqlite")).await?;
    report.figure("sqlite: idle dispatcher", idle, "% core", "≤ 0.5");
    delayed(report).await?;
    waiting(report).await
}

async fn raw(run: impl Fn(&Path) -> f64 + Send + Copy + 'static) -> bgjob::Result<f64> {
    median(async || {
        let place = Place::new();
        let file = place.at("jobs.db");
        let rate = tokio::task::spawn_blocking(move || run(&file)).await;
        Ok(rate.expect("it does not panic"))
    })
    .await
}

async fn bulk() -> bgjob::Result<f64> {
    let place = Place::new();
    let jobs = JobManager::connect(place.url("sqlite")).await?;
    let begun = Instant::now();
    fill(N, |batch| count_email_once::enqueue_all(&jobs, batch)).await?;
    Ok(rate(N, begun.elapsed()))
}

async fn many(tasks: u64) -> bgjob::Result<f64> {
    let place = Place::new();
    let jobs = JobManager::connect(place.url("sqlite")).await?;
    enqueue_from(&jobs, tasks, Duration::from_secs(2)).await
}

#[derive(Clone, Copy)]
enum Kept {
    Yes,
    No,
}

async fn drain(kept: Kept) -> bgjob::Result<f64> {
    let place = Place::new();
    let jobs = JobManager::connect(place.url("sqlite")).await?;
    match kept {
        Kept::Yes => fill(N, |batch| count_email::enqueue_all(&jobs, batch)).await?,
        Kept::No => fill(N, |batch| count_email_once::enqueue_all(&jobs, batch)).await?,
    }
    run_all(&jobs, N).await.map(|took| rate(N, took))
}

/// 10,000 ready jobs, alone and beside half a million delayed ones of a better priority.
async fn delayed(report: &mut Report) -> bgjob::Result<()> {
    const READY: u64 = 10_000;
    let mut rates = Vec::new();
    for others in [0, 500_000] {
        let place = Place::new();
        let jobs = JobManager::connect(place.url("sqlite")).await?;
        let day = Duration::from_secs(24 * 60 * 60);
        fill(others, |batch| {
            count_email_once::enqueue_all(&jobs, batch)
                .delay(day)
                .priority(Priority::High)
        })
        .await?;
        let one = median(async || {
            fill(READY, |batch| count_email_once::enqueue_all(&jobs, batch)).await?;
            run_all(&jobs, READY).await.map(|took| rate(READY, took))
        })
        .await?;
        rates.push(one);
        report.rate(
            &format!("sqlite: drain of 10,000 beside {others} delayed"),
            one,
            None,
        );
    }
    report.figure(
        "sqlite: the second to the first",
        rates[1] / rates[0],
        "×",
        "≥ 0.8",
    );
    Ok(())
}

/// What a dispatcher's memory grows by while a million jobs wait.
async fn waiting(report: &mut Report) -> bgjob::Result<()> {
    let place = Place::new();
    {
        let jobs = JobManager::connect(place.url("sqlite")).await?;
        fill(1_000_000, |batch| {
            count_email_once::enqueue_all(&jobs, batch)
        })
        .await?;
    }
    let before = idle::rss();
    let jobs = JobManager::connect(place.url("sqlite")).await?;
    let count = Count::of(500_000);
    let running = JobDispatcher::builder(&jobs).start().await?;
    let mut most = idle::rss();
    let mut reached = std::pin::pin!(count.reached());
    loop {
        tokio::select! {
            () = &mut reached => break,
            () = tokio::time::sleep(Duration::from_millis(20)) => most = most.max(idle::rss()),
        }
    }
    running.shutdown().await;
    let grown = most - before;
    report.figure(
        "sqlite: memory over idle, a million waiting",
        grown,
        "MiB",
        "≤ 64",
    );
    Ok(())
}
