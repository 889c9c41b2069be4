//! Jobs in the user's own transactions, against a PostgreSQL server of the tests' own.

mod doors;
mod drivers;
mod enqueue;
mod finish;
mod function;
mod horizon;
mod upgrade;
mod wake;

use std::{
    sync::OnceLock,
    time::{Duration, Instant},
};

use bgjob::{JobId, JobManager, providers::postgres::PostgresOptions};
use bgjob_test_servers::postgres::Server;
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool, raw_sql};

fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| Server::start(&["fsync=off"]))
}

/// A schema of one test's own.
struct Schema {
    name: String,
    jobs: JobManager,
}

impl Schema {
    async fn new() -> Self {
        let name = format!("jobs_{}", JobId::new().to_string().replace('-', ""));
        let options = PostgresOptions::from_url(&server().url()).expect("it is a URL");
        let store = options.schema(&name).open().await.expect("it opens");
        let jobs = JobManager::builder(store).build().expect("it can all");
        Self { name, jobs }
    }

    /// The statements, with the schema's name for `jobs.`.
    async fn run(&self, sql: &str) -> sqlx::Result<()> {
        let sql = sql.replace("jobs.", &format!("{}.", self.name));
        let mut db = connect().await;
        raw_sql(AssertSqlSafe(sql))
            .execute(&mut db)
            .await
            .map(|_| ())
    }
}

/// Takes its tables away from a store.
async fn drop_schema(name: &str) {
    let mut db = connect().await;
    let begun = Instant::now();
    let drop = || raw_sql(AssertSqlSafe(format!("DROP SCHEMA {name} CASCADE")));
    // What the store does by itself may be in its way for a moment.
    while let Err(error) = drop().execute(&mut db).await {
        assert!(begun.elapsed() < Duration::from_secs(20), "{error}");
    }
}

async fn connect() -> PgConnection {
    let connected = PgConnection::connect(&server().url()).await;
    connected.expect("the server answers")
}

async fn pool() -> PgPool {
    PgPool::connect(&server().url())
        .await
        .expect("the server answers")
}
