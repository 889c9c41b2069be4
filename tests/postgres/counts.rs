//! What is over is not counted, but has been: by whatever ends, moves or deletes it.

use std::{sync::Arc, time::Duration};

use bgjob::{
    Clock, JobId, JobStore, Timestamp,
    job::transition::{Operated, Operation},
    providers::postgres::PostgresStore,
    testing::ManualClock,
};

use crate::support::{claim, count_at, fresh, new, open, run, server, succeed};

const HOUR: Duration = Duration::from_secs(60 * 60);
/// More than are deleted one by one.
const MANY: usize = 11_000;

async fn world() -> (PostgresStore, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::at(Timestamp::now()));
    let store = open(&fresh().clock(Arc::clone(&clock) as Arc<dyn Clock>)).await;
    store.purge(1).await.expect("it answers");
    (store, clock)
}

async fn over(store: &PostgresStore, mut count: usize, retain: Duration) -> Vec<JobId> {
    let mut ids = Vec::new();
    while count > 0 {
        let mut jobs: Vec<_> = (0..count.min(1000)).map(|_| new(None)).collect();
        for job in &mut jobs {
            Arc::make_mut(&mut job.spec).retain = retain;
        }
        store.create(&jobs).await.expect("it answers");
        succeed(store, claim(store, jobs.len()).await).await;
        ids.extend(jobs.iter().map(|job| job.id));
        count -= jobs.len();
    }
    ids
}

async fn succeeded(store: &PostgresStore) -> u64 {
    let counts = store.counts().await.expect("it answers");
    counts.iter().map(|count| count.succeeded).sum()
}

async fn rows(store: &PostgresStore, what: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM {}.{what}", store.schema());
    count_at(&server().url(), &sql).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_goes_takes_its_counts_along() {
    let (store, clock) = world().await;
    over(&store, MANY, HOUR).await;
    over(&store, 5, 24 * HOUR).await;
    assert_eq!(succeeded(&store).await, MANY as u64 + 5);
    clock.advance(13 * HOUR);
    assert_eq!(store.purge(100).await.expect("it answers"), MANY);
    assert_eq!(succeeded(&store).await, 5, "those that were moved");
    clock.advance(12 * HOUR);
    assert_eq!(store.purge(100).await.expect("it answers"), 5);
    assert_eq!(succeeded(&store).await, 0);
    store.purge(1).await.expect("it answers");
    store.purge(1).await.expect("it answers");
    assert_eq!(rows(&store, "tallies").await, 0, "nothing is left of them");
}

#[tokio::test(flavor = "multi_thread")]
async fn news_are_folded_and_count_the_same() {
    let (store, _clock) = world().await;
    let ids = over(&store, 3000, HOUR).await;
    assert!(rows(&store, "tally_news").await >= 3);
    assert_eq!(succeeded(&store).await, 3000);
    let delete: Vec<_> = ids[..900]
        .iter()
        .map(|id| (*id, Operation::Delete))
        .collect();
    let done = store.operate_many(&delete).await.expect("it answers");
    assert!(done.iter().all(|done| matches!(done, Operated::Done(_))));
    assert_eq!(succeeded(&store).await, 2100);
    store.purge(1).await.expect("it answers");
    assert_eq!(rows(&store, "tally_news").await, 0);
    assert_eq!(succeeded(&store).await, 2100);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_changed_by_hand_is_counted_anew() {
    let (store, _clock) = world().await;
    over(&store, 2000, HOUR).await;
    let schema = store.schema();
    let some = format!("id IN (SELECT id FROM {schema}.history LIMIT 700)");
    run(format!("DELETE FROM {schema}.history WHERE {some}")).await;
    assert_eq!(succeeded(&store).await, 2000, "nobody was told");
    run(format!(
        "SELECT {schema}.recount(p) FROM {schema}.parts() AS p(p)"
    ))
    .await;
    assert_eq!(succeeded(&store).await, 1300);
    run(format!("TRUNCATE {schema}.history")).await;
    assert_eq!(succeeded(&store).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_so_many_it_is_said_that_there_are_more() {
    let (store, _clock) = world().await;
    for _ in 0..11 {
        let jobs: Vec<_> = (0..1000).map(|_| new(None)).collect();
        store.create(&jobs).await.expect("it answers");
    }
    let counts = store.counts().await.expect("it answers");
    assert!(counts[0].more, "{counts:?}");
    assert!(counts[0].due > 10_000, "{counts:?}");
    assert!(counts[0].oldest_due_age.is_some());
}
