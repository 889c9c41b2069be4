//! A commit wakes who sleeps, and notifies nobody where nobody does.

use std::{future::poll_fn, pin::pin, task::Poll, time::Duration};

use bgjob::job;
use sqlx::{AssertSqlSafe, Connection, postgres::PgListener};

use crate::{Schema, connect, pool};

#[job]
async fn greet(_n: u64) {}

/// What is heard on the schema's channel because of one commit.
async fn heard_of_a_commit(schema: &Schema) -> Vec<String> {
    let pool = pool().await;
    let channel = format!("bgjob_{}", schema.name);
    let mut listener = PgListener::connect_with(&pool).await.expect("it answers");
    listener.listen(&channel).await.expect("it answers");
    let mut db = connect().await;
    let mut tx = db.begin().await.expect("it answers");
    for n in 0..3 {
        let job = greet::enqueue(&schema.jobs, n)
            .queue("mail")
            .in_transaction(&mut tx)
            .await;
        job.expect("it is taken");
    }
    tx.commit().await.expect("it answers");
    // Notifications come in the order of commits.
    let end = sqlx::query("SELECT pg_notify($1, 'end')").bind(channel);
    end.execute(&pool).await.expect("it answers");
    let mut heard = Vec::new();
    loop {
        let next = listener.recv().await.expect("it listens");
        if next.payload() == "end" {
            return heard;
        }
        heard.push(next.payload().to_owned());
    }
}

/// As a dispatcher with nothing to do, until the database knows of it.
async fn doze_off(schema: &Schema) {
    let queues = ["mail".into()];
    let store = schema.jobs.store();
    let asleep = format!("SELECT count(*) FROM {}.sleep", schema.name);
    loop {
        // It may return early, as its listener does when it has connected.
        store.wait_ready(&queues).await.expect("it answers");
        let asleep = sqlx::query_scalar(AssertSqlSafe(asleep.as_str()));
        if asleep.fetch_one(&mut connect().await).await.ok() == Some(1_i64) {
            return;
        }
    }
}

#[tokio::test]
async fn only_sleepers_are_woken() {
    let schema = Schema::new().await;
    assert_eq!(heard_of_a_commit(&schema).await, [""; 0]);
    doze_off(&schema).await;
    assert_eq!(heard_of_a_commit(&schema).await, ["mail"]);
    // The note of a sleeper that went away.
    schema
        .run("UPDATE jobs.sleep SET until = 0")
        .await
        .expect("it is there");
    assert_eq!(heard_of_a_commit(&schema).await, [""; 0]);
}

#[tokio::test]
async fn a_sleeper_returns_at_the_commit() {
    let schema = Schema::new().await;
    doze_off(&schema).await;
    let queues = ["mail".into()];
    // By itself it returns after a second, so one of many would do so in the middle.
    let mut woken = 0;
    for n in 0..10 {
        let store = schema.jobs.store();
        let mut wait = pin!(store.wait_ready(&queues));
        let begun = poll_fn(|cx| Poll::Ready(wait.as_mut().poll(cx))).await;
        assert!(begun.is_pending());
        let begun = std::time::Instant::now();
        let mut db = connect().await;
        let mut tx = db.begin().await.expect("it answers");
        let job = greet::enqueue(&schema.jobs, n)
            .queue("mail")
            .in_transaction(&mut tx)
            .await;
        job.expect("it is taken");
        tx.commit().await.expect("it answers");
        wait.await.expect("it answers");
        woken += usize::from(begun.elapsed() < Duration::from_millis(900));
    }
    assert!(woken >= 5, "{woken} of 10 were woken");
}
