//! The raw limits: the same work without a framework.

use std::{path::Path, sync::Arc, time::Instant};

use rusqlite::{Connection, TransactionBehavior::Immediate, params};
use tokio::sync::{Semaphore, mpsc};

use crate::work::{Count, Email, email, handle, rate};

/// tokio's channel, JSON in and out, one spawn a job, enqueue and run at once.
pub async fn spawned(n: u64) -> f64 {
    let (sender, mut receiver) = mpsc::channel::<Vec<u8>>(4096);
    let count = Count::of(n);
    let begun = Instant::now();
    let producer = tokio::spawn(async move {
        for id in 0..n {
            let bytes = serde_json::to_vec(&email(id)).expect("it encodes");
            sender.send(bytes).await.expect("the receiver is there");
        }
    });
    let room = Arc::new(Semaphore::new(256));
    while let Some(bytes) = receiver.recv().await {
        let place = Arc::clone(&room).acquire_owned().await.expect("it is open");
        tokio::spawn(async move {
            handle(&serde_json::from_slice::<Email>(&bytes).expect("it decodes"));
            drop(place);
        });
    }
    producer.await.expect("it does not panic");
    count.reached().await;
    rate(n, begun.elapsed())
}

/// One table with one index for what is ready, FULL, one thread.
pub struct Table(Connection);

impl Table {
    pub fn create(path: &Path) -> Self {
        let db = Connection::open(path).expect("it opens");
        db.execute_batch(
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-65536;
             CREATE TABLE jobs(id INTEGER PRIMARY KEY, queue TEXT NOT NULL, kind TEXT NOT NULL,
               payload BLOB NOT NULL, state INT NOT NULL DEFAULT 0, priority INT NOT NULL DEFAULT 0,
               run_at INT NOT NULL, attempts INT NOT NULL DEFAULT 0, lease INT, worker TEXT);
             CREATE INDEX ready ON jobs(queue, priority, run_at, id) WHERE state=0;",
        )
        .expect("the table is made");
        db.set_prepared_statement_cache_capacity(64);
        Self(db)
    }

    /// Inserts `n` jobs, `batch` a transaction: jobs a second.
    pub fn insert(&mut self, n: u64, batch: u64) -> f64 {
        let begun = Instant::now();
        let mut id = 0;
        while id < n {
            let tx = self
                .0
                .transaction_with_behavior(Immediate)
                .expect("it begins");
            {
                let mut insert = tx
                    .prepare_cached(
                        "INSERT INTO jobs(queue,kind,payload,run_at)
                         VALUES('default','email',?1,?2)",
                    )
                    .expect("it prepares");
                for _ in 0..batch {
                    let bytes = serde_json::to_vec(&email(id)).expect("it encodes");
                    insert
                        .execute(params![bytes, 1_700_000_000 + id as i64])
                        .expect("it inserts");
                    id += 1;
                }
            }
            tx.commit().expect("it commits");
        }
        rate(n, begun.elapsed())
    }

    /// One insert and its commit, 20 ms after the last: the median in milliseconds.
    pub fn commit_after_idle(&mut self) -> f64 {
        let mut took: Vec<_> = (0..200)
            .map(|_| {
                std::thread::sleep(std::time::Duration::from_millis(20));
                let begun = Instant::now();
                self.insert(1, 1);
                begun.elapsed()
            })
            .collect();
        took.sort();
        took[took.len() / 2].as_secs_f64() * 1e3
    }

    /// Claims and deletes all jobs, `batch` at a time in two transactions: jobs a second.
    pub fn drain(&mut self, n: u64, batch: u64) -> f64 {
        let begun = Instant::now();
        let mut total = 0;
        while total < n {
            let claimed = self.claim(batch);
            total += claimed.len() as u64;
            for (_, bytes) in &claimed {
                handle(&serde_json::from_slice::<Email>(bytes).expect("it decodes"));
            }
            let tx = self
                .0
                .transaction_with_behavior(Immediate)
                .expect("it begins");
            {
                let mut delete = tx
                    .prepare_cached("DELETE FROM jobs WHERE id=?1")
                    .expect("it prepares");
                for (id, _) in &claimed {
                    delete.execute([id]).expect("it deletes");
                }
            }
            tx.commit().expect("it commits");
        }
        rate(n, begun.elapsed())
    }

    fn claim(&mut self, batch: u64) -> Vec<(i64, Vec<u8>)> {
        let tx = self
            .0
            .transaction_with_behavior(Immediate)
            .expect("it begins");
        let claimed = tx
            .prepare_cached(
                "UPDATE jobs SET state=1, attempts=attempts+1, lease=?1, worker='w1' WHERE id IN
                 (SELECT id FROM jobs WHERE state=0 AND queue='default' AND run_at<=?1
                  ORDER BY priority, run_at, id LIMIT ?2) RETURNING id, payload",
            )
            .and_then(|mut claim| {
                let rows = claim.query_map(params![2_000_000_000_i64, batch as i64], |row| {
                    Ok((row.get(0)?, row.get(1)?))
                })?;
                rows.collect()
            })
            .expect("it claims");
        tx.commit().expect("it commits");
        claimed
    }
}
