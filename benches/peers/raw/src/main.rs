//! The raw limit: the statements under a store of bgjob's shape, without a framework.
//!
//! A job is split into its payload and an entry in an index of what is ready; a batch has a lease.
//! One connection claims a thousand, and records the end of the thousand before in the same
//! statement. Another inserts, in one statement, all that is waiting to be inserted. There are no
//! retries, no unique keys, no check of who holds a lease, and nothing that others could be.
#![forbid(unsafe_code)]

mod sql;

use std::{future::poll_fn, sync::Arc};

use peers_common::{Email, Peer, Result, Rows, handle, run};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_postgres::{AsyncMessage, Client, NoTls, Statement};

/// How many jobs a claim takes, and how many are inserted at once.
const BATCH: usize = 1000;

type Waiting = (Vec<u8>, oneshot::Sender<()>);

#[derive(Clone)]
struct Raw {
    url: String,
    rows: Rows,
    line: mpsc::Sender<Waiting>,
    bulk: Arc<(Client, Statement)>,
}

async fn connect(url: &str) -> Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    client.batch_execute("SET jit = off").await?;
    Ok(client)
}

fn payload(email: &Email) -> Vec<u8> {
    serde_json::to_vec(email).expect("it is JSON")
}

/// Inserts what waits, until nobody is left that could send more.
async fn insert(db: Client, mut line: mpsc::Receiver<Waiting>) -> Result<()> {
    let insert = db.prepare(sql::INSERT).await?;
    let mut waiting = Vec::new();
    while line.recv_many(&mut waiting, BATCH).await > 0 {
        let (payloads, answers): (Vec<_>, Vec<_>) = waiting.drain(..).unzip();
        db.query(&insert, &[&payloads]).await?;
        for answer in answers {
            // Who has gone does not want to know.
            let _ = answer.send(());
        }
    }
    Ok(())
}

/// Listens; the notice is given each time that somebody has enqueued.
async fn listen(url: &str) -> Result<(Client, Arc<Notify>)> {
    let (client, mut connection) = tokio_postgres::connect(url, NoTls).await?;
    let notice = Arc::new(Notify::new());
    let heard = Arc::clone(&notice);
    tokio::spawn(async move {
        while let Some(Ok(message)) = poll_fn(|cx| connection.poll_message(cx)).await {
            if matches!(message, AsyncMessage::Notification(_)) {
                heard.notify_one();
            }
        }
    });
    client.batch_execute("LISTEN jobs").await?;
    Ok((client, notice))
}

/// Claims and ends until nothing is ready.
async fn drain(db: &Client, statement: &Statement) -> Result<()> {
    let (mut done, mut lease): (Vec<i64>, Option<i64>) = (Vec::new(), None);
    loop {
        let rows = db
            .query(statement, &[&(BATCH as i64), &done, &lease])
            .await?;
        done.clear();
        for row in &rows {
            handle(&serde_json::from_slice(row.try_get(1)?)?);
            done.push(row.try_get(0)?);
            lease = row.try_get(2)?;
        }
        if rows.is_empty() {
            return Ok(());
        }
    }
}

impl Peer for Raw {
    const NAME: &str = "raw";

    async fn open(url: String, rows: Rows) -> Result<Self> {
        let db = connect(&url).await?;
        db.batch_execute(sql::TABLES).await?;
        let statement = db.prepare(sql::INSERT).await?;
        let (line, receiver) = mpsc::channel(4 * BATCH);
        tokio::spawn(insert(connect(&url).await?, receiver));
        Ok(Self {
            url,
            rows,
            line,
            bulk: Arc::new((db, statement)),
        })
    }

    async fn enqueue(&self, email: Email) -> Result<()> {
        let (sender, answer) = oneshot::channel();
        self.line.send((payload(&email), sender)).await?;
        answer.await?;
        Ok(())
    }

    async fn enqueue_all(&self, emails: Vec<Email>) -> Result<()> {
        let payloads: Vec<_> = emails.iter().map(payload).collect();
        let (db, insert) = &*self.bulk;
        db.query(insert, &[&payloads]).await?;
        Ok(())
    }

    async fn work(&self) -> Result<()> {
        let db = connect(&self.url).await?;
        let statement = db.prepare(sql::drain(self.rows)).await?;
        let (_listener, notice) = listen(&self.url).await?;
        loop {
            drain(&db, &statement).await?;
            notice.notified().await;
        }
    }

    fn left(_: u64) -> String {
        "SELECT count(*) FROM payloads".to_owned()
    }
}

fn main() {
    run::<Raw>();
}
