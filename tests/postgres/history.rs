//! Jobs that are over: in tables that go with what is in them.

use std::{sync::Arc, time::Duration};

use bgjob::{
    Clock, JobId, JobState, JobStore, Timestamp,
    job::NewJob,
    providers::postgres::{PostgresOptions, PostgresStore},
    testing::ManualClock,
};
use sqlx::{AssertSqlSafe, Connection, PgConnection, raw_sql};

use crate::{
    servers::postgres::Server,
    support::{claim, count_at, fresh, new, open, run, server, soon, succeed},
};

const HOUR: Duration = Duration::from_secs(60 * 60);
/// More than are deleted one by one.
const MANY: usize = 11_000;

struct World {
    store: PostgresStore,
    clock: Arc<ManualClock>,
}

impl World {
    async fn new() -> Self {
        Self::with(fresh()).await
    }

    async fn with(options: PostgresOptions) -> Self {
        let clock = Arc::new(ManualClock::at(Timestamp::now()));
        let store = open(&options.clock(Arc::clone(&clock) as _)).await;
        // The first makes the tables that are needed soon.
        assert_eq!(store.purge(1).await.expect("it answers"), 0);
        Self { store, clock }
    }

    /// So many jobs that have succeeded, and are kept for so long.
    async fn over(&self, count: usize, retain: Duration) -> Vec<JobId> {
        let mut ids = Vec::new();
        while ids.len() < count {
            let batch = (count - ids.len()).min(1000);
            let jobs: Vec<NewJob> = (0..batch).map(|_| new(None)).collect();
            ids.extend(jobs.iter().map(|job| job.id));
            self.run(jobs, retain).await;
        }
        ids
    }

    async fn run(&self, mut jobs: Vec<NewJob>, retain: Duration) {
        for job in &mut jobs {
            Arc::make_mut(&mut job.spec).retain = retain;
        }
        self.store.create(&jobs).await.expect("it answers");
        let claimed = claim(&self.store, jobs.len()).await;
        assert_eq!(claimed.len(), jobs.len());
        succeed(&self.store, claimed).await;
    }

    async fn purge(&self, limit: usize) -> usize {
        soon(self.store.purge(limit)).await.expect("it answers")
    }

    async fn count(&self, of: &str) -> i64 {
        let schema = self.store.schema();
        count_at(&server().url(), &of.replace("$", schema)).await
    }

    async fn states(&self, ids: &[JobId]) -> Vec<Option<JobState>> {
        let jobs = self.store.get(ids).await.expect("it answers");
        jobs.iter()
            .map(|job| job.as_ref().map(|job| job.state()))
            .collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_go_with_their_table_and_the_others_stay() {
    let world = World::new().await;
    let many = world.over(MANY, HOUR).await;
    let few = world.over(5, 24 * HOUR).await;
    assert_eq!(world.count("SELECT count(*) FROM $.history_rest").await, 0);
    let before = world.count("SELECT count(*) FROM $.history_spans").await;
    world.clock.advance(13 * HOUR);
    assert_eq!(world.purge(100).await, MANY);
    assert_eq!(world.states(&few).await, [Some(JobState::Succeeded); 5]);
    assert_eq!(world.states(&many[..2]).await, [None; 2]);
    assert_eq!(world.count("SELECT count(*) FROM $.history_rest").await, 5);
    let after = world.count("SELECT count(*) FROM $.history_spans").await;
    assert!(after <= before + 1, "{before} tables, then {after}");
    world.clock.advance(12 * HOUR);
    assert_eq!(world.purge(100).await, 5);
    assert_eq!(world.purge(100).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn few_go_when_their_time_has_come() {
    let world = World::new().await;
    let ids = world.over(20, HOUR).await;
    world.over(20, 30 * HOUR).await;
    world.clock.advance(HOUR - Duration::from_secs(1));
    assert_eq!(world.purge(7).await, 0);
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(world.purge(7).await, 7);
    assert_eq!(world.purge(100).await, 13);
    assert_eq!(world.states(&ids).await, [None; 20]);
    // Also in a table that gets no new ones any more, which goes when it is empty.
    world.clock.advance(29 * HOUR);
    assert_eq!(world.purge(7).await, 7);
    assert_eq!(world.purge(100).await, 13);
    world.purge(1).await;
    let old = "SELECT count(*) FROM $.history_spans WHERE hi < ";
    let yesterday = (Timestamp::now().as_millis() + 7 * 60 * 60 * 1000).to_string();
    assert_eq!(world.count(&(old.to_owned() + &yesterday)).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_wait_for_the_last_of_their_table() {
    let world = World::new().await;
    world.over(MANY / 2, 14 * HOUR).await;
    world.over(MANY / 2 + 1, 16 * HOUR).await;
    run(format!("ANALYZE {}.history", world.store.schema())).await;
    world.clock.advance(15 * HOUR);
    assert_eq!(world.purge(100).await, 0);
    world.clock.advance(2 * HOUR);
    assert!(world.purge(100).await >= MANY);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_for_long_is_waited_for_by_nobody() {
    let world = World::new().await;
    world.over(MANY, HOUR).await;
    world.clock.advance(13 * HOUR);
    let mut reader = PgConnection::connect(&server().url()).await.unwrap();
    let read = format!("SELECT count(*) FROM {}.history", world.store.schema());
    let mut tx = reader.begin().await.unwrap();
    raw_sql(AssertSqlSafe(read))
        .execute(&mut *tx)
        .await
        .unwrap();
    assert_eq!(world.purge(100).await, 0, "not now");
    world.over(10, HOUR).await;
    tx.commit().await.unwrap();
    // As many as were over then; the others are in another table, or were just moved.
    assert!(world.purge(100).await >= MANY);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_may_purge_at_once() {
    let world = Arc::new(World::new().await);
    world.over(MANY, HOUR).await;
    world.clock.advance(13 * HOUR);
    let purges: Vec<_> = (0..4)
        .map(|_| {
            let world = Arc::clone(&world);
            tokio::spawn(async move { world.purge(100).await })
        })
        .collect();
    let mut purged = 0;
    for purge in purges {
        purged += purge.await.expect("no panic");
    }
    // They may have been in each other's way: then nobody waits, and the next does it.
    while purged < MANY {
        purged += world.purge(100).await;
    }
    assert_eq!(purged, MANY, "each is counted once");
    assert_eq!(world.purge(100).await, 0);
}

/// A program need not own the tables: then it makes none and drops none.
#[tokio::test(flavor = "multi_thread")]
async fn a_program_with_few_rights_purges_one_by_one() {
    let server = Server::start(&["fsync=off"]);
    let url = server.url();
    drop(open(&PostgresOptions::from_url(&url).unwrap()).await);
    let rights = "CREATE ROLE app LOGIN; GRANT USAGE ON SCHEMA bgjob TO app;
        GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA bgjob TO app";
    crate::support::run_at(&url, rights.to_owned()).await;
    let app = server.url_as(&url, "app");
    let options = PostgresOptions::from_url(&app).unwrap().migrate(false);
    let world = World::with(options).await;
    world.over(20, HOUR).await;
    world.clock.advance(40 * HOUR);
    assert_eq!(world.purge(100).await, 20);

    let owner = PostgresOptions::from_url(&url).unwrap();
    let owner = open(&owner.clock(Arc::clone(&world.clock) as _)).await;
    let spans = "SELECT count(*) FROM bgjob.history_spans";
    let before = count_at(&url, spans).await;
    assert_eq!(soon(owner.purge(1)).await.expect("it answers"), 0);
    assert_eq!(
        count_at(&url, spans).await,
        before,
        "one was made, one dropped"
    );
    let mut jobs: Vec<NewJob> = (0..20).map(|_| new(None)).collect();
    let at = world.clock.now().as_millis();
    for (nth, job) in jobs.iter_mut().enumerate() {
        // Of the time that the test has made.
        let id = format!("{:08x}-{:04x}-7000-8000-{nth:012x}", at >> 16, at & 0xffff);
        job.id = id.parse().expect("it is an id");
    }
    world.run(jobs, HOUR).await;
    world.clock.advance(HOUR);
    // A table that another one makes later gives it the rights that it has to the others.
    assert_eq!(world.purge(100).await, 20);
    assert_eq!(soon(owner.purge(100)).await.expect("it answers"), 0);
}
