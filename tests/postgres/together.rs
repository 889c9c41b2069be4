//! Several at once, and waking across processes.

use std::{future::poll_fn, pin::pin, sync::Arc, task::Poll};

use bgjob::{JobStore, store::Created};

use crate::support::{fresh, new, open, soon};

#[tokio::test(flavor = "multi_thread")]
async fn many_may_make_the_tables_at_once() {
    let options = fresh();
    let opens: Vec<_> = (0..8)
        .map(|_| tokio::spawn(options.clone().open()))
        .collect();
    for open in opens {
        open.await.expect("no panic").expect("one after the other");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_32_tasks_one_gets_the_key() {
    let store = Arc::new(open(&fresh()).await);
    let tasks: Vec<_> = (0..32)
        .map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.create(&[new(Some("one"))]).await })
        })
        .collect();
    let mut created = 0;
    for task in tasks {
        let answer = task.await.expect("no panic").expect("it answers").remove(0);
        created += usize::from(answer == Created::Created);
        assert!(matches!(answer, Created::Created | Created::KeyTaken(_)));
    }
    assert_eq!(created, 1);
}

#[tokio::test]
async fn a_job_of_another_process_wakes() {
    let options = fresh();
    let (here, there) = (open(&options).await, open(&options).await);
    let queues = [Arc::from("default")];
    // The first wait ends when it is listened; what is woken after that is woken by a job.
    here.wait_ready(&queues).await.expect("it answers");
    let mut wait = pin!(here.wait_ready(&queues));
    let early = poll_fn(|context| Poll::Ready(wait.as_mut().poll(context).is_ready())).await;
    there.create(&[new(None)]).await.expect("it answers");
    if !early {
        let woken = soon(wait).await;
        woken.expect("it answers");
    }
}
