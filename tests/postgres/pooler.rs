//! Behind PgBouncer, where a connection is one's own for a transaction only.

use std::sync::Arc;

use bgjob::JobManager;

use crate::{
    servers::pgbouncer::PgBouncer,
    support::{Told, all_succeed, count_at, database, dispatcher, enqueue, server},
};

#[tokio::test(flavor = "multi_thread")]
async fn dispatchers_share_a_few_connections_behind_a_pooler() {
    const JOBS: u64 = 600;
    const CONNECTIONS: usize = 3;
    let pooler = PgBouncer::start(server(), CONNECTIONS);
    let database = database().await;
    let url = format!("{}?bgjob.pooler=transaction", pooler.url(&database));
    // All begin at once, as after a deployment: with empty hands, and no tables.
    let opens: Vec<_> = (0..4)
        .map(|_| tokio::spawn(JobManager::connect(url.clone()).into_future()))
        .collect();
    let mut all = Vec::new();
    for open in opens {
        all.push(open.await.expect("no panic").expect("it answers"));
    }
    let told = Arc::<Told>::default();
    let (first, second) = (dispatcher(&all[0], &told), dispatcher(&all[1], &told));
    let running = [
        first.start().await.expect("it starts"),
        second.start().await.expect("it starts"),
    ];
    let loads: Vec<_> = (0..JOBS)
        .step_by(50)
        .map(|n| {
            let jobs = all[2 + (n / 50 % 2) as usize].clone();
            tokio::spawn(async move { enqueue(&jobs, n..n + 50).await })
        })
        .collect();
    for load in loads {
        load.await.expect("no panic");
    }
    all_succeed(&all[3], 0..JOBS).await;
    let backends = format!("SELECT count(*) FROM pg_stat_activity WHERE datname = '{database}'");
    let backends = count_at(&server().url(), &backends).await;
    assert!((1..=CONNECTIONS as i64).contains(&backends), "{backends}");
    for running in running {
        assert!(running.health().is_good());
        running.shutdown().await;
    }
    told.each_once(JOBS);
}
