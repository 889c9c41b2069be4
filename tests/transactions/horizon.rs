//! A transaction that is held open: what was claimed since can't be removed, and claims begin
//! behind it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bgjob::{
    Due, JobId, JobSpec, JobStore, Json, Timestamp, Want,
    job::{End, Grant, NewJob, Owner, Serves, Token, transition::SweepPolicy},
    store::{Claimed, Ending},
};
use sqlx::raw_sql;

use crate::{Schema, connect};

fn new(due: Due) -> NewJob {
    let mut spec = JobSpec::new("a", Json::null());
    spec.retain = Duration::ZERO;
    NewJob {
        id: JobId::new(),
        spec: Arc::new(spec),
        due,
    }
}

async fn claim(store: &dyn JobStore, max: usize) -> Claimed {
    let grant = Grant {
        token: Token::random(),
        owner: Owner::random(),
        lease: Duration::from_secs(30),
        repeat: false,
    };
    let serves = Serves {
        jobs: Arc::new([("a".into(), 0)].into()),
        suspect: false,
    };
    let want = Want {
        queue: "default".into(),
        max,
    };
    let claimed = store.claim_ready(&[want], &grant, &serves).await;
    claimed.expect("it answers")
}

/// Stores so many jobs, and brings them to their end.
async fn pass(store: &dyn JobStore, count: usize) {
    let batch: Vec<NewJob> = (0..count).map(|_| new(Due::Now)).collect();
    store.create(&batch).await.expect("it answers");
    let claimed = claim(store, count).await.jobs;
    assert_eq!(claimed.len(), count);
    let end = |job: bgjob::job::ClaimedJob| Ending {
        id: job.id,
        token: job.token,
        end: End::Success(Json::null()),
    };
    let ends: Vec<Ending> = claimed.into_iter().map(end).collect();
    store.finish(&ends).await.expect("it answers");
}

/// Stores a job that was due long ago.
async fn store_late(store: &dyn JobStore) -> JobId {
    let now = store.now().await.expect("it answers").as_millis();
    let late = new(Due::At(Timestamp::from_millis(now - 3_600_000)));
    let created = store.create(std::slice::from_ref(&late)).await;
    created.expect("it answers");
    late.id
}

async fn sweep(store: &dyn JobStore) {
    let swept = store.sweep(10, &SweepPolicy::default()).await;
    swept.expect("it answers");
}

#[tokio::test]
async fn what_comes_late_is_found_beside_the_claims() {
    let schema = Schema::new().await;
    let store = &**schema.jobs.store();
    let mut holder = connect().await;
    let hold = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT txid_current()";
    raw_sql(hold)
        .execute(&mut holder)
        .await
        .expect("it answers");
    for _ in 0..8 {
        pass(store, 1000).await;
    }
    // Claims begin a second ago now, and go on finding what is new.
    pass(store, 100).await;
    let late = store_late(store).await;
    assert_eq!(claim(store, 10).await.jobs, []);
    let begun = Instant::now();
    let found = loop {
        sweep(store).await;
        let claimed = claim(store, 10).await.jobs;
        if !claimed.is_empty() {
            break claimed;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "it was never found"
        );
    };
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].id, late);

    // Once vacuum can remove the dead, claims begin at the beginning again, each of them.
    let mut in_a_row = 0;
    raw_sql("ROLLBACK")
        .execute(&mut holder)
        .await
        .expect("it answers");
    loop {
        // What others have begun may be in its way for a moment.
        let vacuum = schema.run("VACUUM jobs.ready");
        vacuum.await.expect("it answers");
        sweep(store).await;
        let late = store_late(store).await;
        let claimed = claim(store, 10).await.jobs;
        let found = claimed.iter().any(|job| job.id == late);
        in_a_row = if found { in_a_row + 1 } else { 0 };
        if in_a_row == 3 {
            break;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(40),
            "it still passes over it"
        );
    }
}
