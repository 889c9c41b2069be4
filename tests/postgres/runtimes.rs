//! A manager that outlives runtimes, and none at all.

use std::sync::Arc;

use bgjob::{ErrorKind, JobManager, JobStore, providers::postgres::PostgresStore, store::Created};

use crate::{
    company::Own,
    support::{count_at, new, open, tell},
};

/// A runtime as `#[tokio::test]` makes one.
fn briefly<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("it can be made").block_on(work)
}

#[test]
fn a_manager_outlives_runtimes_one_after_the_other() {
    let jobs = briefly(async {
        let own = Own::new().await;
        JobManager::connect(own.url).await.expect("it answers")
    });
    for turn in 0..12 {
        briefly(async {
            for n in 0..3 {
                let sent = tell::enqueue(&jobs, turn * 3 + n).await;
                sent.unwrap_or_else(|error| panic!("runtime {turn}, job {n}: {error:?}"));
            }
            let at_once = (0..4).map(|n| {
                let jobs = jobs.clone();
                tokio::spawn(async move { tell::enqueue(&jobs, n).await.map(drop) })
            });
            for sent in at_once.collect::<Vec<_>>() {
                sent.await.expect("no panic").expect("it is stored");
            }
        });
    }
    briefly(async { drop(jobs) });
}

#[test]
fn a_store_outlives_runtimes_that_come_and_go_at_once() {
    let own = briefly(Own::new());
    let store = briefly(async { Arc::new(open(&own.options()).await) });
    let threads = (0..8).map(|_| {
        let store = Arc::clone(&store);
        std::thread::spawn(move || {
            for _ in 0..10 {
                let created = briefly(store.create(&[new(None)]));
                assert_eq!(created.expect("its runtime lives"), [Created::Created]);
            }
        })
    });
    for thread in threads.collect::<Vec<_>>() {
        thread.join().expect("all were stored");
    }
    briefly(async {
        let stored = count_at(&own.url, "SELECT count(*) FROM bgjob.jobs").await;
        assert_eq!(stored, 80);
        drop(store);
    });
}

#[test]
fn without_a_runtime_there_is_an_error() {
    let mut connect = std::pin::pin!(PostgresStore::open_url("postgres://127.0.0.1:1/db"));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let std::task::Poll::Ready(opened) = connect.as_mut().poll(&mut context) else {
        panic!("it has nothing to wait for");
    };
    let error = opened.expect_err("there is none");
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
    assert!(error.to_string().contains("tokio"), "{error}");
}
