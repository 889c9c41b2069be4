//! Several at once, and waking across processes.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::Poll,
    time::{Duration, Instant},
};

use bgjob::{
    Due, JobSpec, JobStore, Json, Priority,
    job::transition::{Operated, Operation},
    providers::postgres::{PostgresOptions, PostgresStore},
    store::Created,
};
use sqlx::{AssertSqlSafe, Connection, PgConnection, postgres::PgListener, raw_sql};
use tokio::runtime::Builder;

use crate::support::{claim, count_at, database, fresh, new, open, server, soon, url};

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

/// A process keeps its own copy of the kinds of jobs there are. Behind a backlog of those it knows
/// the others must not wait until that is done.
#[tokio::test]
async fn a_kind_of_job_that_is_new_waits_for_no_backlog() {
    let options = fresh();
    let (here, there) = (open(&options).await, open(&options).await);
    let backlog: Vec<_> = (0..20).map(|_| new(None)).collect();
    here.create(&backlog).await.expect("it answers");
    let kind = |name: &str, priority| {
        let mut job = new(None);
        let mut spec = JobSpec::new(name, Json::null());
        spec.priority = priority;
        job.spec = Arc::new(spec);
        job
    };
    let urgent = kind("urgent", Priority::High);
    there
        .create(std::slice::from_ref(&urgent))
        .await
        .expect("it answers");
    let first = claim(&here, 5).await;
    assert_eq!(first.len(), 5);
    assert_eq!(first[0].id, urgent.id, "it is the most urgent one");
    claim(&here, 5).await;
    // Nor does it wait for the next claim where there is room in this one.
    let late = kind("late", Priority::High);
    there
        .create(std::slice::from_ref(&late))
        .await
        .expect("it answers");
    let rest = claim(&here, 100).await;
    assert_eq!(rest.len(), 12);
    assert_eq!(rest[0].id, late.id);
}

#[tokio::test]
async fn a_job_of_another_process_wakes() {
    let options = fresh();
    let (here, there) = (open(&options).await, open(&options).await);
    let queues = [Arc::from("default")];
    // The first wait ends when it is listened; what is woken after that is woken by a job.
    here.wait_ready(&queues).await.expect("it answers");
    let begun = Instant::now();
    for _ in 0..12 {
        let mut wait = pin!(here.wait_ready(&queues));
        let early = poll_fn(|context| Poll::Ready(wait.as_mut().poll(context).is_ready())).await;
        there.create(&[new(None)]).await.expect("it answers");
        if !early {
            soon(wait).await.expect("it answers");
        }
    }
    // By itself each wait ends after a second.
    assert!(
        begun.elapsed() < Duration::from_secs(6),
        "{:?}",
        begun.elapsed()
    );
}

/// The last of several jobs may be left untold, by a program that ends right after it.
#[tokio::test]
async fn who_was_woken_looks_again_soon_and_then_sleeps() {
    const LONG: Duration = Duration::from_secs(1);
    let options = fresh();
    let (here, there) = (open(&options).await, open(&options).await);
    let queues = [Arc::from("default")];
    let wait = async || {
        let begun = Instant::now();
        soon(here.wait_ready(&queues)).await.expect("it answers");
        begun.elapsed()
    };
    // Until it listens and has come to rest.
    while wait().await < LONG {}
    let mut told = pin!(wait());
    let early = poll_fn(|context| Poll::Ready(told.as_mut().poll(context).is_ready())).await;
    assert!(!early, "nobody has told anything");
    there.create(&[new(None)]).await.expect("it answers");
    assert!(told.await < LONG);
    assert!(wait().await < LONG, "it looks again");
    assert!(wait().await > LONG, "once");
}

/// A program that does no more than that, as one that cron starts.
#[tokio::test(flavor = "multi_thread")]
async fn who_ends_after_an_enqueue_has_told_the_others() {
    let options = fresh();
    let schema = open(&options).await.schema().to_owned();
    let listener = PgListener::connect(&server().url()).await;
    let mut listener = listener.expect("the server answers");
    let listens = listener.listen(&format!("bgjob_{schema}")).await;
    listens.expect("it may");
    for _ in 0..5 {
        let options = options.clone();
        let program = std::thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build();
            runtime.expect("it starts").block_on(async {
                let store = open(&options).await;
                store.create(&[new(None)]).await.expect("it answers")
            });
        });
        program.join().expect("no panic");
        let heard = soon(listener.recv()).await.expect("it listens");
        assert_eq!(heard.payload(), "default");
    }
}

/// As a store that several tests of a user share.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_outlives_its_runtime_tells_the_others() {
    let options = fresh();
    let first = std::thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build();
        runtime.expect("it starts").block_on(open(&options))
    });
    let store = first.join().expect("no panic");
    let listener = PgListener::connect(&server().url()).await;
    let mut listener = listener.expect("the server answers");
    let listens = listener.listen(&format!("bgjob_{}", store.schema())).await;
    listens.expect("it may");
    // Its first connections have ended with their runtime.
    let job = new(None);
    let create = async { while store.create(std::slice::from_ref(&job)).await.is_err() {} };
    soon(create).await;
    let heard = soon(listener.recv()).await.expect("it listens");
    assert_eq!(heard.payload(), "default");
}

/// Connections go from hand to hand, also to who has waited for longest.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_for_a_connection_gets_one_while_others_go_on() {
    const TASKS: usize = 12;
    let store = Arc::new(open(&fresh().connections(4)).await);
    let served = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = (0..TASKS)
        .map(|_| {
            let (store, served) = (Arc::clone(&store), Arc::clone(&served));
            tokio::spawn(async move {
                store.now().await.expect("it answers");
                served.fetch_add(1, Relaxed);
                while served.load(Relaxed) < TASKS {
                    store.now().await.expect("it answers");
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("nobody has waited for too long");
    }
}

/// Its note that it sleeps is on its way, and nobody polls it any more.
#[tokio::test]
async fn a_sleeper_that_nobody_polls_keeps_no_connection() {
    let database = database().await;
    let options = PostgresOptions::from_url(&url(&database)).expect("it is a URL");
    let store = open(&options.connections(1)).await;
    let mut other = PgConnection::connect(&url(&database)).await.unwrap();
    let lock = raw_sql("BEGIN; LOCK TABLE bgjob.sleep").execute(&mut other);
    lock.await.expect("nobody has it");
    let notes = format!(
        "SELECT count(*) FROM pg_stat_activity \
         WHERE datname = '{database}' AND wait_event_type = 'Lock' AND query LIKE '%asleep%'"
    );
    let queues = [Arc::from("default")];
    let mut sleeper = store.wait_ready(&queues);
    soon(async {
        while count_at(&server().url(), &notes).await == 0 {
            if poll_fn(|cx| Poll::Ready(sleeper.as_mut().poll(cx)))
                .await
                .is_ready()
            {
                // That it is listened to, for one.
                sleeper = store.wait_ready(&queues);
            }
        }
    })
    .await;
    let unlock = raw_sql("ROLLBACK").execute(&mut other);
    unlock.await.expect("it answers");
    store.now().await.expect("there is a connection");
}

/// The first call on a connection takes ten times as long as the next.
#[tokio::test]
async fn a_connection_lies_ready_for_the_next_call() {
    let database = database().await;
    let store = PostgresStore::open_url(&url(&database)).await;
    let store = store.expect("it can be opened");
    // Nobody has claimed anything, so this was a rehearsal.
    let ready = format!(
        "SELECT count(*) FROM pg_stat_activity \
         WHERE datname = '{database}' AND state = 'idle' AND query LIKE '%claim_kinds%'"
    );
    store.now().await.expect("it answers");
    soon(async { while count_at(&server().url(), &ready).await == 0 {} }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_taken_meanwhile_is_said_to_be() {
    let store = Arc::new(open(&fresh()).await);
    let (over, taker) = (new(Some("one")), new(None));
    store
        .create(&[over.clone(), taker.clone()])
        .await
        .expect("it answers");
    store
        .operate(over.id, &Operation::Cancel)
        .await
        .expect("it answers");
    // Somebody is about to take the key, and whoever looks can't see it yet.
    let connected = PgConnection::connect(&server().url()).await;
    let mut other = connected.expect("the server answers");
    let schema = store.schema().to_owned();
    let take = format!(
        "BEGIN; UPDATE {schema}.jobs SET unique_key = 'one' WHERE id = '{}'",
        taker.id
    );
    let took = raw_sql(AssertSqlSafe(take)).execute(&mut other).await;
    took.expect("it may take it");
    let requeue = tokio::spawn({
        let (store, id) = (Arc::clone(&store), over.id);
        async move { store.operate(id, &Operation::Requeue(Due::Now)).await }
    });
    let waits = format!(
        "SELECT count(*) FROM pg_stat_activity \
         WHERE wait_event_type = 'Lock' AND query LIKE '%{schema}%.save%'"
    );
    soon(async { while count_at(&server().url(), &waits).await == 0 {} }).await;
    raw_sql("COMMIT").execute(&mut other).await.expect("it may");
    let operated = soon(requeue).await.expect("no panic").expect("it answers");
    assert_eq!(operated, Operated::KeyTaken(taker.id));
}
