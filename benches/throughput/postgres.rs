//! The PostgreSQL store, no queue, on a server of its own: durable (`synchronous_commit=on`) as it
//! is by default, client and server on the same cores.

mod raw;

use std::{
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::{Duration, Instant},
};

use bgjob::prelude::*;
use sqlx::{Connection, Executor, PgConnection, Row, raw_sql};
use tokio::time::sleep;

use crate::{
    idle, latency,
    report::Report,
    server::Server,
    work::{count_email, count_email_once, enqueue_from, fill, in_turns, rate, run_all},
};

const N: u64 = 200_000;

/// What is measured, each on a server of its own, which has nothing else to do.
pub const PARTS: [&str; 4] = ["enqueue", "drain", "latency", "delayed"];

/// Measures one of [`PARTS`]; where it is not `durable`, commits don't wait for the disk.
pub async fn run(report: &mut Report, part: &str, durable: bool) -> bgjob::Result<()> {
    let commit = format!("synchronous_commit={}", if durable { "on" } else { "off" });
    let server = Server::start(&["shared_buffers=1GB", "max_wal_size=4GB", &commit]);
    let url = server.url();
    match part {
        "enqueue" => enqueues(report, &url).await,
        "drain" => drains(report, &url).await,
        "latency" => latencies(report, &url).await,
        "delayed" => delayed(report, &url).await,
        other => unreachable!("`{other}` is no part"),
    }
}

async fn enqueues(report: &mut Report, url: &str) -> bgjob::Result<()> {
    let (raw, bulk) = in_turns(|| raw::insert(url), || bulk(url)).await?;
    report.rate("postgres: raw insert, split, by 1,000", raw, None);
    report.rate("postgres: enqueue_all by 1,000", bulk, Some((raw, 0.7)));
    for tasks in [1, 16, 256] {
        let (raw, many) = in_turns(|| raw::many(url, tasks), || many(url, tasks)).await?;
        let name = format!("postgres: raw insert, {tasks} tasks, one sender");
        report.rate(&name, raw, None);
        let name = format!("postgres: enqueue from {tasks} tasks");
        report.rate(&name, many, Some((raw, 0.7)));
    }
    Ok(())
}

async fn drains(report: &mut Report, url: &str) -> bgjob::Result<()> {
    let (raw, gone) = in_turns(|| raw::drain(url), || drain(url, Kept::No)).await?;
    let name = "postgres: raw claim + delete, split, by 1,000";
    report.rate(name, raw, None);
    let name = "postgres: drain, deleted at success";
    report.rate(name, gone, Some((raw, 0.5)));
    let (raw, kept) = in_turns(|| raw::twice(url), || drain(url, Kept::Yes)).await?;
    let name = "postgres: raw, one table, updated twice, by 1,000";
    report.rate(name, raw, None);
    let name = "postgres: drain, kept 24 h (the default)";
    report.rate(name, kept, Some((raw, 0.5)));
    Ok(())
}

async fn latencies(report: &mut Report, url: &str) -> bgjob::Result<()> {
    let (p50, p99) = raw::latency(url).await?;
    report.figure("postgres: raw insert, then delete, p50", p50, "ms", "");
    report.figure("postgres: raw insert, then delete, p99", p99, "ms", "");
    let (p50, p99) = latency::within(&schema(url)).await?;
    report.figure("postgres: idle pickup p50", p50, "ms", "≤ 1.8");
    report.figure("postgres: idle pickup p99", p99, "ms", "≤ 5");
    let (p50, p99) = latency::across(&schema(url)).await?;
    report.figure("postgres: two processes, idle pickup p50", p50, "ms", "");
    report.figure("postgres: two processes, idle pickup p99", p99, "ms", "");
    let idle = idle::share(&schema(url)).await?;
    report.figure("postgres: idle dispatcher", idle, "% core", "≤ 0.5");
    let calls = calls(url).await?;
    report.figure("postgres: idle dispatcher", calls, "calls/s", "≤ 2");
    Ok(())
}

/// What an idle dispatcher asks of the server, over half a minute once it has come to rest: what
/// connections do when they are new is told ten seconds later. In a database where nothing was
/// before, as vacuum is counted too.
async fn calls(url: &str) -> bgjob::Result<f64> {
    const REST: Duration = Duration::from_secs(15);
    const SPAN: Duration = Duration::from_secs(30);
    let mut db = PgConnection::connect(url).await.map_err(failed)?;
    let create = raw_sql("CREATE DATABASE idle").execute(&mut db).await;
    create.map_err(failed)?;
    let (server, _) = url.rsplit_once('/').expect("it names a database");
    let url = format!("{server}/idle");
    let mut db = PgConnection::connect(&url).await.map_err(failed)?;
    let jobs = JobManager::connect(url).await?;
    let running = JobDispatcher::builder(&jobs).start().await?;
    sleep(REST).await;
    let before = transactions(&mut db).await?;
    sleep(SPAN).await;
    let calls = transactions(&mut db).await? - before;
    running.shutdown().await;
    Ok(calls / SPAN.as_secs_f64())
}

/// All there ever were, those of the last seconds left out: a connection tells of them later.
async fn transactions(db: &mut PgConnection) -> bgjob::Result<f64> {
    let ask = "SELECT (xact_commit + xact_rollback)::float8 FROM pg_stat_database
        WHERE datname = current_database()";
    let row = sqlx::query(ask).fetch_one(db).await.map_err(failed)?;
    row.try_get(0).map_err(failed)
}

/// A schema of one measurement's own.
fn schema(url: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{url}?bgjob.schema=bench_{}", NEXT.fetch_add(1, Relaxed))
}

/// Tables that nothing was ever in. Those of the last measurement go first, as the raw ones do:
/// what is left of it would have to be written to the disk while this one is measured.
async fn fresh(url: &str) -> bgjob::Result<JobManager> {
    let mut db = PgConnection::connect(url).await.map_err(failed)?;
    let drop = "SET client_min_messages = warning; DROP SCHEMA IF EXISTS bench CASCADE";
    db.execute(raw_sql(drop)).await.map_err(failed)?;
    JobManager::connect(format!("{url}?bgjob.schema=bench")).await
}

fn failed(error: sqlx::Error) -> bgjob::Error {
    bgjob::Error::new(bgjob::ErrorKind::Internal, "the raw measurement failed").because(error)
}

async fn bulk(url: &str) -> bgjob::Result<f64> {
    let jobs = fresh(url).await?;
    let begun = Instant::now();
    fill(N, |batch| count_email_once::enqueue_all(&jobs, batch)).await?;
    Ok(rate(N, begun.elapsed()))
}

async fn many(url: &str, tasks: u64) -> bgjob::Result<f64> {
    let jobs = fresh(url).await?;
    enqueue_from(&jobs, tasks, Duration::from_secs(2)).await
}

#[derive(Clone, Copy)]
enum Kept {
    Yes,
    No,
}

async fn drain(url: &str, kept: Kept) -> bgjob::Result<f64> {
    let jobs = fresh(url).await?;
    match kept {
        Kept::Yes => fill(N, |batch| count_email::enqueue_all(&jobs, batch)).await?,
        Kept::No => fill(N, |batch| count_email_once::enqueue_all(&jobs, batch)).await?,
    }
    run_all(&jobs, N).await.map(|took| rate(N, took))
}

/// 10,000 ready jobs, alone and beside a million delayed ones of a better priority.
async fn delayed(report: &mut Report, url: &str) -> bgjob::Result<()> {
    const READY: u64 = 10_000;
    const DELAYED: u64 = 1_000_000;
    let (alone, beside) = (schema(url), schema(url));
    let (alone, beside) = (
        JobManager::connect(alone).await?,
        JobManager::connect(beside).await?,
    );
    let day = Duration::from_secs(24 * 60 * 60);
    fill(DELAYED, |batch| {
        count_email_once::enqueue_all(&beside, batch)
            .delay(day)
            .priority(Priority::High)
    })
    .await?;
    // What a million new rows let the server do is done when a minute has passed.
    let mut db = PgConnection::connect(url).await.map_err(failed)?;
    for rest in ["VACUUM ANALYZE", "CHECKPOINT"] {
        sqlx::query(rest).execute(&mut db).await.map_err(failed)?;
    }
    let one = async |jobs: &JobManager| {
        fill(READY, |batch| count_email_once::enqueue_all(jobs, batch)).await?;
        run_all(jobs, READY).await.map(|took| rate(READY, took))
    };
    let (first, second) = in_turns(|| one(&alone), || one(&beside)).await?;
    report.rate("postgres: drain of 10,000", first, None);
    let name = format!("postgres: drain of 10,000 beside {DELAYED} delayed");
    report.rate(&name, second, Some((first, 0.8)));
    Ok(())
}
