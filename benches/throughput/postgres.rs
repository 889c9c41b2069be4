//! The PostgreSQL store, no queue, on a server of its own: durable (`synchronous_commit=on`) as it
//! is by default, client and server on the same cores.

use std::{
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::{Duration, Instant},
};

use bgjob::prelude::*;
use sqlx::{Connection, Executor, PgConnection, Row};
use tokio::sync::{mpsc, oneshot};

use crate::{
    idle, latency,
    report::Report,
    server::Server,
    work::{
        Email, count_email, count_email_once, email, enqueue_from, fill, handle, median, rate,
        run_all,
    },
};

const N: u64 = 200_000;

pub async fn run(report: &mut Report) -> bgjob::Result<()> {
    let server = Server::start(&["shared_buffers=1GB", "max_wal_size=4GB"]);
    let url = server.url();
    let raw_insert = median(|| raw_insert(&url)).await?;
    report.rate("postgres: raw insert, split, by 1,000", raw_insert, None);
    let raw_drain = median(|| raw_drain(&url)).await?;
    report.rate(
        "postgres: raw claim + delete, split, batches of 1,000",
        raw_drain,
        None,
    );
    let bulk = median(|| bulk(&url)).await?;
    report.rate(
        "postgres: enqueue_all by 1,000",
        bulk,
        Some((raw_insert, 0.7)),
    );
    for tasks in [1, 16, 256] {
        let raw = median(|| raw_many(&url, tasks)).await?;
        let name = format!("postgres: raw insert, {tasks} tasks, one sender");
        report.rate(&name, raw, None);
        let many = median(|| many(&url, tasks)).await?;
        let name = format!("postgres: enqueue from {tasks} tasks");
        report.rate(&name, many, Some((raw, 0.7)));
    }
    let gone = median(|| drain(&url, Kept::No)).await?;
    report.rate(
        "postgres: drain, deleted at success",
        gone,
        Some((raw_drain, 0.5)),
    );
    let kept = median(|| drain(&url, Kept::Yes)).await?;
    report.rate("postgres: drain, kept 24 h (the default)", kept, None);
    latencies(report).await?;
    delayed(report, &url).await
}

/// On a server that has nothing else to do.
async fn latencies(report: &mut Report) -> bgjob::Result<()> {
    let server = Server::start(&["shared_buffers=1GB", "max_wal_size=4GB"]);
    let url = server.url();
    let (p50, p99) = raw_latency(&url).await?;
    report.figure("postgres: raw insert, then delete, p50", p50, "ms", "");
    report.figure("postgres: raw insert, then delete, p99", p99, "ms", "");
    let (p50, p99) = latency::within(&schema(&url)).await?;
    report.figure("postgres: idle pickup p50", p50, "ms", "≤ 1.8");
    report.figure("postgres: idle pickup p99", p99, "ms", "≤ 5");
    let (p50, p99) = latency::across(&schema(&url)).await?;
    report.figure(
        "postgres: idle pickup across two processes p50",
        p50,
        "ms",
        "",
    );
    report.figure(
        "postgres: idle pickup across two processes p99",
        p99,
        "ms",
        "",
    );
    let idle = idle::share(&schema(&url)).await?;
    report.figure("postgres: idle dispatcher", idle, "% core", "≤ 0.5");
    Ok(())
}

/// A schema of one measurement's own.
fn schema(url: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{url}?bgjob.schema=bench_{}", NEXT.fetch_add(1, Relaxed))
}

fn failed(error: sqlx::Error) -> bgjob::Error {
    bgjob::Error::new(bgjob::ErrorKind::Internal, "the raw measurement failed").because(error)
}

const TABLES: &str = "DROP SCHEMA IF EXISTS raw CASCADE; CREATE SCHEMA raw; SET search_path = raw;
    CREATE TABLE payloads(id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        payload bytea NOT NULL);
    CREATE TABLE ready(queue int NOT NULL, priority smallint NOT NULL, run_at timestamptz NOT NULL,
        id bigint NOT NULL, PRIMARY KEY(queue, priority, run_at, id));
    CREATE TABLE leases(id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        until timestamptz NOT NULL, ids bigint[] NOT NULL)";

const INSERT: &str = "WITH p AS (
        INSERT INTO payloads(payload) SELECT * FROM unnest($1::bytea[]) RETURNING id)
    INSERT INTO ready SELECT 1, 0, now(), id FROM p";

const DRAIN: &str = "WITH d AS (DELETE FROM payloads WHERE id = ANY($2)),
    dl AS (DELETE FROM leases WHERE id = $3),
    r AS (DELETE FROM ready WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM ready WHERE queue = 1 AND run_at <= now()
        ORDER BY priority, run_at, id LIMIT $1 FOR UPDATE SKIP LOCKED)) RETURNING id),
    a AS MATERIALIZED (SELECT array_agg(id) AS ids FROM r),
    l AS (INSERT INTO leases(until, ids) SELECT now() + interval '60s', ids FROM a
        WHERE ids IS NOT NULL RETURNING id)
    SELECT p.id, p.payload, (SELECT id FROM l) AS lease FROM payloads p
    WHERE p.id = ANY((SELECT ids FROM a)::bigint[])";

async fn raw_tables(url: &str) -> bgjob::Result<PgConnection> {
    let mut db = PgConnection::connect(url).await.map_err(failed)?;
    db.execute(sqlx::raw_sql(TABLES)).await.map_err(failed)?;
    Ok(db)
}

async fn raw_fill(db: &mut PgConnection) -> bgjob::Result<()> {
    let mut next = 0;
    while next < N {
        let batch = (next..next + 1000).map(|n| serde_json::to_vec(&email(n)).expect("it is JSON"));
        let insert = sqlx::query(INSERT).bind(batch.collect::<Vec<_>>());
        insert.execute(&mut *db).await.map_err(failed)?;
        next += 1000;
    }
    Ok(())
}

async fn raw_insert(url: &str) -> bgjob::Result<f64> {
    let mut db = raw_tables(url).await?;
    let begun = Instant::now();
    raw_fill(&mut db).await?;
    Ok(rate(N, begun.elapsed()))
}

async fn raw_drain(url: &str) -> bgjob::Result<f64> {
    let mut db = raw_tables(url).await?;
    raw_fill(&mut db).await?;
    let begun = Instant::now();
    let (mut done, mut lease): (Vec<i64>, Option<i64>) = (Vec::new(), None);
    let mut count = 0;
    loop {
        let call = sqlx::query(DRAIN).bind(1000_i64).bind(&done).bind(lease);
        let rows = call.fetch_all(&mut db).await.map_err(failed)?;
        done.clear();
        for row in &rows {
            let payload: &[u8] = row.try_get("payload").map_err(failed)?;
            let meta: Email = serde_json::from_slice(payload).expect("it was JSON");
            handle(&meta);
            done.push(row.try_get("id").map_err(failed)?);
            lease = row.try_get("lease").map_err(failed)?;
        }
        count += rows.len() as u64;
        if rows.is_empty() {
            break;
        }
    }
    assert_eq!(count, N, "it drains all of them");
    Ok(rate(N, begun.elapsed()))
}

/// What tasks insert one at a time, sent by one of them: all that is there at a time.
async fn raw_many(url: &str, tasks: u64) -> bgjob::Result<f64> {
    const SPAN: Duration = Duration::from_secs(2);
    let mut db = raw_tables(url).await?;
    let (sender, mut receiver) = mpsc::channel::<(Vec<u8>, oneshot::Sender<()>)>(4096);
    let begun = Instant::now();
    for _ in 0..tasks {
        let sender = sender.clone();
        tokio::spawn(async move {
            for n in 0.. {
                let (done, answer) = oneshot::channel();
                let payload = serde_json::to_vec(&email(n)).expect("it is JSON");
                if begun.elapsed() > SPAN || sender.send((payload, done)).await.is_err() {
                    break;
                }
                answer.await.ok();
            }
        });
    }
    drop(sender);
    let (mut count, mut batch) = (0, Vec::new());
    while receiver.recv_many(&mut batch, 1000).await > 0 {
        let (payloads, waiting): (Vec<_>, Vec<_>) = batch.drain(..).unzip();
        count += payloads.len() as u64;
        let insert = sqlx::query(INSERT).bind(payloads);
        insert.execute(&mut db).await.map_err(failed)?;
        for done in waiting {
            done.send(()).ok();
        }
    }
    Ok(rate(count, begun.elapsed()))
}

/// Two commits, the second on another connection, with a rest before each pair: p50 and p99.
async fn raw_latency(url: &str) -> bgjob::Result<(f64, f64)> {
    let mut db = raw_tables(url).await?;
    let mut other = PgConnection::connect(url).await.map_err(failed)?;
    let mut took = Vec::new();
    for _ in 0..latency::SAMPLES {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let begun = Instant::now();
        let insert = sqlx::query(INSERT).bind(vec![b"{}".to_vec()]);
        insert.execute(&mut db).await.map_err(failed)?;
        let delete = sqlx::query("DELETE FROM raw.ready");
        delete.execute(&mut other).await.map_err(failed)?;
        took.push(begun.elapsed());
    }
    Ok(latency::percentiles_of(took))
}

async fn bulk(url: &str) -> bgjob::Result<f64> {
    let jobs = JobManager::connect(schema(url)).await?;
    let begun = Instant::now();
    fill(N, |batch| count_email_once::enqueue_all(&jobs, batch)).await?;
    Ok(rate(N, begun.elapsed()))
}

async fn many(url: &str, tasks: u64) -> bgjob::Result<f64> {
    let jobs = JobManager::connect(schema(url)).await?;
    enqueue_from(&jobs, tasks, Duration::from_secs(2)).await
}

#[derive(Clone, Copy)]
enum Kept {
    Yes,
    No,
}

async fn drain(url: &str, kept: Kept) -> bgjob::Result<f64> {
    let jobs = JobManager::connect(schema(url)).await?;
    match kept {
        Kept::Yes => fill(N, |batch| count_email::enqueue_all(&jobs, batch)).await?,
        Kept::No => fill(N, |batch| count_email_once::enqueue_all(&jobs, batch)).await?,
    }
    run_all(&jobs, N).await.map(|took| rate(N, took))
}

/// 10,000 ready jobs, alone and beside a million delayed ones of a better priority.
async fn delayed(report: &mut Report, url: &str) -> bgjob::Result<()> {
    const READY: u64 = 10_000;
    let mut rates = Vec::new();
    for others in [0, 1_000_000] {
        let jobs = JobManager::connect(schema(url)).await?;
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
        let name = format!("postgres: drain of 10,000 beside {others} delayed");
        report.rate(&name, one, None);
    }
    let share = rates[1] / rates[0];
    report.figure("postgres: the second to the first", share, "×", "≥ 0.8");
    Ok(())
}
