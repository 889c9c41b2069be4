//! The raw limits: what the same work takes in plain statements, without a framework.

use std::time::{Duration, Instant};

use sqlx::{Connection, Executor, PgConnection, Row};
use tokio::sync::{mpsc, oneshot};

use crate::work::{Email, email, handle, rate};

use super::{N, failed};

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

async fn tables(url: &str) -> bgjob::Result<PgConnection> {
    let mut db = PgConnection::connect(url).await.map_err(failed)?;
    db.execute(sqlx::raw_sql(TABLES)).await.map_err(failed)?;
    Ok(db)
}

async fn fill(db: &mut PgConnection) -> bgjob::Result<()> {
    let mut next = 0;
    while next < N {
        let batch = (next..next + 1000).map(|n| serde_json::to_vec(&email(n)).expect("it is JSON"));
        let insert = sqlx::query(INSERT).bind(batch.collect::<Vec<_>>());
        insert.execute(&mut *db).await.map_err(failed)?;
        next += 1000;
    }
    Ok(())
}

pub async fn insert(url: &str) -> bgjob::Result<f64> {
    let mut db = tables(url).await?;
    let begun = Instant::now();
    fill(&mut db).await?;
    Ok(rate(N, begun.elapsed()))
}

pub async fn drain(url: &str) -> bgjob::Result<f64> {
    let mut db = tables(url).await?;
    fill(&mut db).await?;
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

/// The usual shape: one table, updated at the claim, then at the end, where the row stays.
const TABLE: &str = "DROP SCHEMA IF EXISTS raw CASCADE; CREATE SCHEMA raw; SET search_path = raw;
    CREATE TABLE jobs(id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, queue int NOT NULL,
        priority smallint NOT NULL, run_at timestamptz NOT NULL, state smallint NOT NULL,
        until timestamptz, worker int, payload bytea NOT NULL)
        WITH (fillfactor = 70);
    CREATE INDEX ready ON jobs(queue, priority, run_at, id) WHERE state = 0";

const CLAIM: &str = "WITH c AS MATERIALIZED (SELECT id FROM jobs
        WHERE queue = 1 AND state = 0 AND run_at <= now()
        ORDER BY priority, run_at, id LIMIT $1 FOR UPDATE SKIP LOCKED)
    UPDATE jobs j SET state = 1, worker = 1, until = now() + interval '60s' FROM c
    WHERE j.id = c.id RETURNING j.id, j.payload";

const END: &str = "UPDATE jobs SET state = 2, until = NULL WHERE id = ANY($1) AND state = 1";

pub async fn twice(url: &str) -> bgjob::Result<f64> {
    let mut db = PgConnection::connect(url).await.map_err(failed)?;
    db.execute(sqlx::raw_sql(TABLE)).await.map_err(failed)?;
    let mut next = 0;
    while next < N {
        let batch = (next..next + 1000).map(|n| serde_json::to_vec(&email(n)).expect("it is JSON"));
        let insert = sqlx::query(
            "INSERT INTO jobs(queue, priority, run_at, state, payload)
             SELECT 1, 0, now(), 0, * FROM unnest($1::bytea[])",
        );
        let insert = insert.bind(batch.collect::<Vec<_>>());
        insert.execute(&mut db).await.map_err(failed)?;
        next += 1000;
    }
    let begun = Instant::now();
    let mut count = 0;
    loop {
        let claim = sqlx::query(CLAIM).bind(1000_i64);
        let rows = claim.fetch_all(&mut db).await.map_err(failed)?;
        if rows.is_empty() {
            break;
        }
        let mut done: Vec<i64> = Vec::new();
        for row in &rows {
            let payload: &[u8] = row.try_get("payload").map_err(failed)?;
            handle(&serde_json::from_slice::<Email>(payload).expect("it was JSON"));
            done.push(row.try_get("id").map_err(failed)?);
        }
        let end = sqlx::query(END).bind(&done);
        end.execute(&mut db).await.map_err(failed)?;
        count += rows.len() as u64;
    }
    assert_eq!(count, N, "it drains all of them");
    Ok(rate(N, begun.elapsed()))
}

/// What tasks insert one at a time, sent by one of them: all that is there at a time.
pub async fn many(url: &str, tasks: u64) -> bgjob::Result<f64> {
    const SPAN: Duration = Duration::from_secs(2);
    let mut db = tables(url).await?;
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
pub async fn latency(url: &str) -> bgjob::Result<(f64, f64)> {
    let mut db = tables(url).await?;
    let mut other = PgConnection::connect(url).await.map_err(failed)?;
    let mut took = Vec::new();
    for _ in 0..crate::latency::SAMPLES {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let begun = Instant::now();
        let insert = sqlx::query(INSERT).bind(vec![b"{}".to_vec()]);
        insert.execute(&mut db).await.map_err(failed)?;
        let delete = sqlx::query("DELETE FROM raw.ready");
        delete.execute(&mut other).await.map_err(failed)?;
        took.push(begun.elapsed());
    }
    Ok(crate::latency::percentiles_of(took))
}
