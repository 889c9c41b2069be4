//! Every driver that bgjob knows: rolled back it is not there, committed it is.

use bgjob::{ErrorKind, JobHandle, JobManager, JobState, job};
use diesel_async::{AsyncConnection, AsyncPgConnection};
use sea_orm::{Database, TransactionTrait};

use crate::{Schema, drop_schema, pool, server};

#[job(queue = "mail")]
async fn send(_to: String) {}

fn enqueue(jobs: &JobManager) -> bgjob::Enqueue<String, ()> {
    // What a text can hold that statements and JSON have to keep apart.
    send::enqueue(jobs, "it's \"$1\" \\ \u{0} ☃".to_owned())
}

async fn is_there<R>(job: &JobHandle<R>) -> bool {
    match job.status().await {
        Ok(state) => state == JobState::Ready,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
            false
        }
    }
}

/// Begins, enqueues and ends a transaction, in the way of each driver.
macro_rules! both {
    ($jobs:ident, $tx:ident: $begin:expr, $commit:expr, $rollback:expr) => {{
        let mut $tx = $begin;
        let job = enqueue(&$jobs)
            .in_transaction(&mut $tx)
            .await
            .expect("it is taken");
        assert!(!is_there(&job).await, "before the commit");
        $commit;
        assert!(is_there(&job).await, "after the commit");
        let mut $tx = $begin;
        let job = enqueue(&$jobs)
            .in_transaction(&mut $tx)
            .await
            .expect("it is taken");
        $rollback;
        assert!(!is_there(&job).await, "after the rollback");
    }};
}

#[tokio::test]
async fn sqlx() {
    let Schema { jobs, .. } = Schema::new().await;
    let pool = pool().await;
    both!(
        jobs,
        tx: pool.begin().await.expect("it answers"),
        tx.commit().await.expect("it answers"),
        tx.rollback().await.expect("it answers")
    );
    let mut connection = pool.acquire().await.expect("it answers");
    let job = enqueue(&jobs).in_transaction(&mut connection).await;
    assert!(is_there(&job.expect("it is taken")).await);
    let job = enqueue(&jobs).in_transaction(&mut *connection).await;
    assert!(is_there(&job.expect("it is taken")).await);
}

#[tokio::test]
async fn tokio_postgres() {
    let Schema { jobs, name } = Schema::new().await;
    let connected = tokio_postgres::connect(&server().url(), tokio_postgres::NoTls).await;
    let (mut client, connection) = connected.expect("it answers");
    tokio::spawn(connection);
    both!(
        jobs,
        tx: client.transaction().await.expect("it answers"),
        tx.commit().await.expect("it answers"),
        tx.rollback().await.expect("it answers")
    );
    let job = enqueue(&jobs).in_transaction(&mut client).await;
    assert!(is_there(&job.expect("it is taken")).await);
    drop_schema(&name).await;
    let error = enqueue(&jobs).in_transaction(&mut client).await;
    let error = error.expect_err("the tables are gone");
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");
}

#[tokio::test]
async fn diesel_async() {
    let Schema { jobs, .. } = Schema::new().await;
    let connected = AsyncPgConnection::establish(&server().url()).await;
    let mut db = connected.expect("it answers");
    for commit in [true, false] {
        let mut job = None;
        let ended = db
            .transaction(async |tx| {
                let enqueued = enqueue(&jobs)
                    .in_transaction(tx)
                    .await
                    .expect("it is taken");
                assert!(!is_there(&enqueued).await);
                job = Some(enqueued);
                if commit {
                    Ok(())
                } else {
                    Err(diesel::result::Error::RollbackTransaction)
                }
            })
            .await;
        assert_eq!(ended.is_ok(), commit);
        assert_eq!(is_there(&job.expect("it was taken")).await, commit);
    }
}

#[tokio::test]
async fn sea_orm() {
    let Schema { jobs, name } = Schema::new().await;
    let db = Database::connect(server().url()).await.expect("it answers");
    both!(
        jobs,
        tx: db.begin().await.expect("it answers"),
        tx.commit().await.expect("it answers"),
        tx.rollback().await.expect("it answers")
    );
    drop_schema(&name).await;
    let mut tx = db.begin().await.expect("it answers");
    let error = enqueue(&jobs).in_transaction(&mut tx).await;
    let error = error.expect_err("the tables are gone");
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");
}
