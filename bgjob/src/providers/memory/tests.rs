//! What is specific to this store: its limits, and a clock that may go back. The conformance suite
//! tests the rest.

use super::*;
use crate::{
    JobSpec, Json, Owner,
    job::{Due, End, State, Token},
};

/// The time, moved by the test.
#[derive(Debug, Clone)]
struct HandClock(Arc<Mutex<Timestamp>>);

impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().expect("no test panics with it in hand")
    }
}

impl HandClock {
    fn set(&self, time: Timestamp) {
        *self.0.lock().expect("no test panics with it in hand") = time;
    }
}

struct Bundle {
    clock: HandClock,
    store: MemoryStore,
}

fn bundle(limits: impl FnOnce(MemoryStoreBuilder) -> MemoryStoreBuilder) -> Bundle {
    let clock = HandClock(Arc::new(Mutex::new(Timestamp::now())));
    let builder = MemoryStore::builder().clock(Arc::new(clock.clone()));
    let store = limits(builder).build();
    Bundle { clock, store }
}

fn new(due: Due, retain: Duration) -> NewJob {
    let mut spec = JobSpec::new("job", Json::null());
    spec.retain = retain;
    NewJob::new(JobId::new(), spec, due)
}

fn grant() -> Grant {
    Grant::new(Token::random(), Owner::random(), Duration::from_secs(30))
}

fn serves() -> Serves {
    Serves::new(Arc::new([("job".into(), 0)].into())).suspect(true)
}

impl Bundle {
    async fn create(&self, job: &NewJob) -> Created {
        let answers = self.store.create(std::slice::from_ref(job)).await;
        answers.expect("memory answers").remove(0)
    }

    async fn ready(&self) -> Claimed {
        let want = Want::new(JobSpec::QUEUE, 10);
        self.store
            .claim_ready(&[want], &grant(), &serves())
            .await
            .expect("memory answers")
    }

    /// Runs all ready jobs.
    async fn drain(&self) {
        let jobs = self.ready().await.jobs.into_iter();
        let ends = jobs.map(|job| Ending::new(job.id, job.token, End::Success(Json::null())));
        self.store
            .finish(&ends.collect::<Vec<_>>())
            .await
            .expect("memory answers");
    }

    async fn is_there(&self, job: &NewJob) -> bool {
        self.store.get(&[job.id]).await.expect("memory answers")[0].is_some()
    }
}

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn a_full_store_rejects_until_something_ends() {
    let t = bundle(|limits| limits.max_jobs(2));
    let jobs = [HOUR; 3].map(|retain| new(Due::Now, retain));
    assert_eq!(t.create(&jobs[0]).await, Created::Created);
    assert_eq!(t.create(&jobs[1]).await, Created::Created);
    let Created::Rejected(reason) = t.create(&jobs[2]).await else {
        panic!("there is no room");
    };
    assert!(reason.contains("`max_jobs`"), "{reason}");
    assert_eq!(
        t.create(&jobs[1]).await,
        Created::Exists,
        "a repeat needs no room"
    );
    t.drain().await;
    assert_eq!(t.create(&jobs[2]).await, Created::Created);
}

#[tokio::test]
async fn of_too_many_ended_jobs_the_next_to_be_purged_goes() {
    let t = bundle(|limits| limits.max_ended(2));
    let jobs = [3, 1, 2].map(|hours| new(Due::Now, hours * HOUR));
    for job in &jobs {
        t.create(job).await;
        t.drain().await;
    }
    let left = [
        t.is_there(&jobs[0]).await,
        t.is_there(&jobs[1]).await,
        t.is_there(&jobs[2]).await,
    ];
    assert_eq!(left, [true, false, true]);
    assert_eq!(
        t.store.counts().await.expect("memory answers")[0].total(),
        2
    );
}

#[tokio::test]
async fn of_too_many_vanished_jobs_the_oldest_id_is_forgotten() {
    let t = bundle(|limits| limits.max_ended(1));
    let jobs = [Duration::ZERO; 2].map(|retain| new(Due::Now, retain));
    for job in &jobs {
        t.create(job).await;
        t.drain().await;
    }
    assert_eq!(t.create(&jobs[1]).await, Created::Exists);
    assert_eq!(
        t.create(&jobs[0]).await,
        Created::Created,
        "it had to make room"
    );
}

#[tokio::test]
async fn a_clock_that_goes_back_makes_nobody_early_and_loses_nobody() {
    let t = bundle(|limits| limits);
    let start = t.clock.now();
    let job = new(Due::After(HOUR), HOUR);
    t.create(&job).await;
    t.clock.set(start + 2 * HOUR);
    let elsewhere = Want::new(JobSpec::QUEUE, 0);
    // This look finds it due, but no one takes it.
    t.store
        .claim_ready(&[elsewhere], &grant(), &serves())
        .await
        .expect("memory answers");
    t.clock.set(start);
    let claimed = t.ready().await;
    assert_eq!((claimed.jobs.len(), claimed.next_due_in), (0, Some(HOUR)));
    t.clock.set(start + HOUR);
    assert_eq!(t.ready().await.jobs[0].id, job.id);
}

#[tokio::test]
async fn an_abandoned_wait_leaves_nothing_behind() {
    let t = bundle(|limits| limits);
    let job = new(Due::Now, HOUR);
    t.create(&job).await;
    for _ in 0..3 {
        let queues = ["a".into(), "b".into()];
        let waits = async { tokio::join!(t.store.wait_ready(&queues), t.store.wait_ended(job.id)) };
        assert!(tokio::time::timeout(Duration::ZERO, waits).await.is_err());
    }
    t.store.with(|table, _| assert!(table.nobody_waits()));
    assert_eq!(
        t.store.get(&[job.id]).await.expect("memory answers")[0]
            .as_ref()
            .expect("memory answers")
            .state(),
        State::Ready
    );
}

#[tokio::test]
async fn kinds_of_jobs_that_nobody_uses_are_forgotten() {
    let t = bundle(|limits| limits);
    let kept = new(Due::Now, HOUR);
    assert_eq!(t.create(&kept).await, Created::Created);
    for round in 0..3 {
        for n in 0..1500 {
            let mut job = new(Due::Now, HOUR);
            let spec = Arc::make_mut(&mut job.spec);
            spec.queue = format!("tenant-{round}-{n}").into();
            t.create(&job).await;
            let deleted = async {
                let cancelled = t.store.operate(job.id, &Operation::Cancel).await;
                cancelled.and(t.store.operate(job.id, &Operation::Delete).await)
            };
            deleted.await.expect("memory answers");
        }
        let names = [kept.spec.queue.clone(), format!("tenant-{round}-7").into()];
        let _awaited = t.store.wait_ready(&names);
        t.store.purge(9).await.expect("memory answers");
        let (lanes, queues) = t.store.with(|table, _| table.lanes.len());
        assert!(lanes == 1 && queues <= 2, "{lanes} {queues}");
    }
    let mut again = new(Due::Now, HOUR);
    Arc::make_mut(&mut again.spec).queue = "tenant-0-9".into();
    t.create(&again).await;
    assert_eq!(t.ready().await.jobs[0].id, kept.id);
    let counts = t.store.counts().await.expect("memory answers");
    assert_eq!(counts.len(), 2);
}
