//! Drains and enqueues: jobs a second.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::{task::JoinSet, time::sleep};
use tokio_postgres::{Client, NoTls};

use crate::{Error, Peer, Result, Rows, cpu, email, report, work::done};

/// How many jobs the bulk call is given at once.
const BATCH: u64 = 1000;
/// How many tasks enqueue at a time.
const TASKS: u64 = 256;
const ROUND: Duration = Duration::from_millis(1500);
/// A drain takes no longer; what was done by then counts.
const LIMIT: Duration = Duration::from_secs(20);

/// How fast a backlog of `n` jobs is worked off, and what that takes of the cores.
pub(crate) async fn drain<P: Peer>(url: &str, n: u64, rows: Rows) -> Result<()> {
    let peer = P::open(url.to_owned(), rows).await?;
    for next in (0..n).step_by(BATCH as usize) {
        let batch = (next..n.min(next + BATCH)).map(email).collect();
        peer.enqueue_all(batch).await?;
    }
    let db = connect(url).await?;
    db.batch_execute("VACUUM ANALYZE").await?;

    let (own, server) = (cpu::own(), cpu::server());
    let begun = Instant::now();
    tokio::select! {
        ended = peer.work() => {
            ended?;
            return Err("the worker ended by itself".into());
        }
        ended = recorded::<P>(&db, n) => ended?,
    }
    let took = begun.elapsed();
    let (own, used) = (cpu::own() - own, cpu::server());

    let ran = done() as f64;
    let name = match rows {
        Rows::Kept => "kept",
        Rows::Deleted => "deleted",
    };
    report::<P>(&format!("drain {name}"), ran / took.as_secs_f64());
    report::<P>(&format!("cpu {name}"), own.as_secs_f64() * 1e6 / ran);
    if let (Some(before), Some(after)) = (server, used) {
        let used = (after - before).as_secs_f64() * 1e6 / ran;
        report::<P>(&format!("server cpu {name}"), used);
    }
    Ok(())
}

/// Waits for all jobs to have run, and for the store to know of it.
async fn recorded<P: Peer>(db: &Client, n: u64) -> Result<()> {
    let begun = Instant::now();
    while done() < n {
        if begun.elapsed() > LIMIT {
            eprintln!("{}: {} of {n} jobs were run in time", P::NAME, done());
            return Ok(());
        }
        sleep(Duration::from_millis(1)).await;
    }
    // A look at the whole table takes time itself: not too often.
    let left = P::left(n);
    while db.query_one(&left, &[]).await?.get::<_, i64>(0) > 0 {
        if begun.elapsed() > LIMIT {
            return Err("the store never knew of the end of all jobs".into());
        }
        sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

/// Many tasks that each enqueue one job at a time.
pub(crate) async fn enqueue<P: Peer>(url: &str) -> Result<()> {
    let peer = P::open(url.to_owned(), Rows::Kept).await?;
    let count = Arc::new(AtomicU64::new(0));
    let begun = Instant::now();
    let mut producers = JoinSet::new();
    for _ in 0..TASKS {
        let (peer, count) = (peer.clone(), Arc::clone(&count));
        producers.spawn(async move {
            while begun.elapsed() < ROUND {
                peer.enqueue(email(count.fetch_add(1, Relaxed))).await?;
            }
            Ok::<_, Error>(())
        });
    }
    while let Some(ended) = producers.join_next().await {
        ended??;
    }
    let rate = count.load(Relaxed) as f64 / begun.elapsed().as_secs_f64();
    report::<P>("enqueue", rate);
    Ok(())
}

/// One task that enqueues a thousand jobs at a time.
pub(crate) async fn bulk<P: Peer>(url: &str) -> Result<()> {
    if !P::HAS_BULK {
        return Ok(());
    }
    let peer = P::open(url.to_owned(), Rows::Kept).await?;
    let (begun, mut n) = (Instant::now(), 0);
    while begun.elapsed() < ROUND {
        peer.enqueue_all((n..n + BATCH).map(email).collect())
            .await?;
        n += BATCH;
    }
    report::<P>("bulk", n as f64 / begun.elapsed().as_secs_f64());
    Ok(())
}

/// A plain connection, for a look from outside.
async fn connect(url: &str) -> Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}
