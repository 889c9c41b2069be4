//! Tables that were all but empty when they were last vacuumed: the planner takes them for small.

use bgjob::{JobStore, providers::postgres::PostgresStore};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row, raw_sql};

use crate::support::{claim, fresh, new, open, run, server, succeed};

const JOBS: usize = 6_000;
const BATCH: usize = 200;

#[tokio::test(flavor = "multi_thread")]
async fn what_was_all_but_empty_at_the_last_vacuum_is_looked_up_by_id() {
    let options = fresh();
    let store = open(&options).await;
    let schema = store.schema().to_owned();
    fill(&store).await;
    store.create(&[new(None)]).await.expect("it answers");
    drain(&store).await;
    drop(store);
    // The last one keeps the room of all the others.
    for table in ["jobs", "ready", "grants", "held", "history"] {
        run(format!("VACUUM ANALYZE {schema}.{table}")).await;
    }
    let before = entries_read(&schema, 2).await;
    let store = open(&options).await;
    fill(&store).await;
    drain(&store).await;
    // What its connections have done is told when they are closed.
    drop(store);
    let read = entries_read(&schema, 4).await - before;
    // Each is read a few times; with each batch all of them would be a hundred thousands.
    assert!(
        read < 8 * JOBS as i64,
        "{read} entries of indexes for {JOBS} jobs"
    );
}

async fn fill(store: &PostgresStore) {
    for _ in 0..JOBS / 1000 {
        let batch: Vec<_> = (0..1000).map(|_| new(None)).collect();
        store.create(&batch).await.expect("it answers");
    }
}

async fn drain(store: &PostgresStore) {
    for _ in 0..JOBS / BATCH {
        let claimed = claim(store, BATCH).await;
        assert_eq!(claimed.len(), BATCH);
        succeed(store, claimed).await;
    }
}

/// Once they are told of: a claim reads the entry and the job, the end the job once more.
async fn entries_read(schema: &str, times: i64) -> i64 {
    let mut db = PgConnection::connect(&server().url())
        .await
        .expect("it answers");
    let ask = format!(
        "SELECT pg_stat_clear_snapshot(), sum(idx_tup_read)::bigint AS read
         FROM pg_stat_user_indexes WHERE schemaname = '{schema}' AND relname IN ('jobs', 'ready')"
    );
    loop {
        let row = raw_sql(AssertSqlSafe(ask.clone())).fetch_one(&mut db).await;
        let read: i64 = row.expect("it answers").get("read");
        if read >= times * JOBS as i64 {
            return read;
        }
        tokio::task::yield_now().await;
    }
}
