//! Clocks that jump: nothing starts before its time by the clock, nothing overflows, nothing is
//! lost.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering::SeqCst},
    },
    time::Duration,
};

use bgjob::{
    Clock, Event, JobDispatcher, JobManager, JobState, JobStore, Json, Outcome, Registry,
    Timestamp,
    job::{End, Failure, FailureKind, Retry, transition::SweepPolicy},
    providers::memory::MemoryStore,
    store::{Created, Ending, Finished},
    testing::{ManualClock, TokioClock},
};

use crate::support::{Folder, Told, echo, grant, manager, new, serves, stores, want};

const HOUR: i64 = 3_600_000;
const YEAR: i64 = 365 * 24 * HOUR;

/// Follows paused time, and jumps when told to.
#[derive(Debug, Clone)]
struct Jumpy {
    clock: TokioClock,
    /// How far it is off, in milliseconds.
    off: Arc<AtomicI64>,
}

impl Jumpy {
    fn new() -> Self {
        let clock = TokioClock::new();
        Self {
            clock,
            off: Arc::default(),
        }
    }

    fn jump(&self, millis: i64) {
        self.off.fetch_add(millis, SeqCst);
    }

    fn set_right(&self) {
        self.off.store(0, SeqCst);
    }
}

impl Clock for Jumpy {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.clock.now().as_millis() + self.off.load(SeqCst))
    }
}

#[bgjob::job(name = "slow", timeout = "1h")]
async fn slow(n: u32) -> Outcome<u32> {
    pass(60).await;
    Outcome::Success(n)
}

#[bgjob::job(name = "retried")]
async fn retried(n: u32, attempts: bgjob::extract::Attempts) -> Outcome<u32> {
    if attempts.this > 1 {
        return Outcome::Success(n);
    }
    Outcome::Retry {
        failure: Failure::new(FailureKind::Error, "once"),
        after: Some(Duration::from_secs(90)),
    }
}

async fn pass(seconds: u64) {
    let _ = tokio::time::timeout(Duration::from_secs(seconds), std::future::pending::<()>()).await;
}

/// A manager on a clock that jumps, and a dispatcher that tells what starts before its time.
async fn world(clock: &Jumpy) -> (JobManager, bgjob::DispatcherHandle, Told) {
    let jobs = manager(MemoryStore::with_clock(Arc::new(clock.clone())));
    let told = Told::default();
    let early = |event: &Event<'_>| {
        if let Event::AttemptStarted { job } = event {
            assert!(job.claimed_at >= job.due_at, "early: {job:?}");
        }
    };
    let registry = Registry::new()
        .with::<echo>()
        .with::<slow>()
        .with::<retried>();
    let running = JobDispatcher::builder(&jobs)
        .registry(registry)
        .without_lease_thread()
        .on_event(early)
        .on_event(told.listener())
        .start()
        .await
        .unwrap();
    (jobs, running, told)
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_goes_back_makes_jobs_late_and_never_early() {
    let clock = Jumpy::new();
    let (jobs, _running, _) = world(&clock).await;
    let delayed = echo::enqueue(&jobs, 1)
        .delay(Duration::from_secs(60))
        .await
        .unwrap();
    clock.jump(-2 * HOUR);
    let now = echo::enqueue(&jobs, 2).await.unwrap();
    assert_eq!(
        now.result().await.unwrap(),
        2,
        "what is enqueued now is due now"
    );
    pass(7_200 + 50).await;
    assert_eq!(delayed.status().await.unwrap(), JobState::Ready);
    assert_eq!(
        delayed
            .result_within(Duration::from_secs(15))
            .await
            .unwrap(),
        1
    );
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_goes_forward_makes_jobs_due() {
    let clock = Jumpy::new();
    let (jobs, _running, _) = world(&clock).await;
    let delayed = echo::enqueue(&jobs, 1)
        .delay(Duration::from_secs(86_400))
        .await
        .unwrap();
    pass(100).await;
    assert_eq!(delayed.status().await.unwrap(), JobState::Ready);
    clock.jump(YEAR);
    assert_eq!(
        delayed
            .result_within(Duration::from_secs(10))
            .await
            .unwrap(),
        1
    );
    clock.jump(1_000 * YEAR);
    let last = echo::enqueue(&jobs, 2).await.unwrap();
    assert_eq!(
        last.result_within(Duration::from_secs(10)).await.unwrap(),
        2
    );
}

/// Leases are cut short or drawn out by it: who is at work notices, and keeps what it has.
#[tokio::test(start_paused = true)]
async fn a_clock_that_jumps_back_and_forth_loses_nothing() {
    let clock = Jumpy::new();
    let (jobs, running, told) = world(&clock).await;
    let mut handles = Vec::new();
    let jumps = [
        1,
        -1,
        24,
        -48,
        365 * 24,
        -365 * 24,
        1_000_000,
        -1_000_000,
        -3,
        5,
    ];
    for (n, jump) in (0..).zip(jumps.iter().cycle().take(40)) {
        handles.push((n, slow::enqueue(&jobs, n).max_attempts(100).await.unwrap()));
        handles.push((
            n,
            retried::enqueue(&jobs, n).max_attempts(100).await.unwrap(),
        ));
        handles.push((
            n,
            echo::enqueue(&jobs, n)
                .delay(Duration::from_secs(600))
                .await
                .unwrap(),
        ));
        pass(7).await;
        clock.jump(jump * HOUR);
    }
    clock.set_right();
    pass(3_600).await;
    // What was retried or delayed while the clock was ahead is due then, until somebody says else.
    for job in jobs
        .list()
        .state(JobState::Ready)
        .limit(1_000)
        .await
        .unwrap()
        .jobs
    {
        jobs.reschedule(job.id, bgjob::Due::Now).await.unwrap();
    }
    pass(3_600).await;
    check_ended(&jobs, &handles).await;
    // A jump past its lease costs no job anything: what is at work is renewed before others look.
    assert_eq!(told.all("Revoked").len(), 0);
    let succeeded = told.all("answer: Applied(Succeeded)").len();
    assert_eq!(succeeded, handles.len(), "each ends once");
    assert!(told.all("LoopFailed").is_empty());
    let health = running.health();
    assert_eq!(
        (health.running, health.waiting, health.unrecorded),
        (0, 0, 0),
        "{health:?}"
    );
    assert!(health.is_good());
}

/// A laptop's lid: three naps of an hour while a job is at work, and two dispatchers beside it.
#[tokio::test(start_paused = true)]
async fn a_nap_costs_no_job_a_crash() {
    let clock = Jumpy::new();
    let (jobs, running, told) = world(&clock).await;
    let other = JobDispatcher::builder(&jobs)
        .registry(Registry::new().with::<echo>())
        .without_lease_thread()
        .on_event(told.listener())
        .start()
        .await
        .unwrap();
    let handle = slow::enqueue(&jobs, 1).await.unwrap();
    for _ in 0..3 {
        pass(12).await;
        clock.jump(HOUR);
    }
    assert_eq!(handle.result().await.unwrap(), 1);
    let job = handle.job().await.unwrap();
    assert_eq!((job.crashes, job.fence), (0, 1), "it was started once");
    // Who is gone is still found after a nap.
    let lost = new("slow", |spec| spec.metadata = Json::encode(&2).unwrap());
    let id = lost.id;
    jobs.store().create(&[lost]).await.unwrap();
    let (grant, serves) = (grant(), serves("slow"));
    jobs.store().claim(&[id], &grant, &serves).await.unwrap();
    pass(12).await;
    clock.jump(HOUR);
    pass(120).await;
    let job = jobs.get(id).await.unwrap().unwrap();
    assert_eq!((job.state(), job.crashes), (JobState::Succeeded, 1));
    for running in [running, other] {
        let _ = running.shutdown().await;
    }
}

/// All are over, and right; or purged, where the clock was past their retention.
async fn check_ended(jobs: &JobManager, handles: &[(u32, bgjob::JobHandle<Outcome<u32>>)]) {
    for (n, handle) in handles {
        let Some(job) = jobs.get(handle.id()).await.unwrap() else {
            continue;
        };
        assert_eq!(
            (job.state(), job.crashes),
            (JobState::Succeeded, 0),
            "{job:?}"
        );
        assert_eq!(job.result().unwrap().decode::<u32>().unwrap(), *n);
    }
}

/// The first and the last times there are, in every order, on every store.
#[tokio::test(flavor = "multi_thread")]
async fn no_time_is_too_early_or_too_late_for_a_store() {
    let (folder, clock) = (Folder::new(), ManualClock::new());
    let middle = clock.now().as_millis();
    let times = [
        0,
        middle,
        i64::MAX,
        middle - YEAR,
        i64::MIN,
        middle + YEAR,
        i64::MAX,
        middle,
    ];
    for store in stores(&folder, Arc::new(clock.clone())).await {
        for time in times {
            clock.set(Timestamp::from_millis(time));
            live(store.as_ref(), &clock).await;
        }
        // Whatever is left is found and ends, now that the clock is right.
        clock.advance(Duration::from_secs(31));
        store.sweep(1_000, &SweepPolicy::default()).await.unwrap();
        store.counts().await.unwrap();
    }
}

/// A few jobs go all their ways at the time that it is.
async fn live(store: &dyn JobStore, clock: &ManualClock) {
    let span = Duration::MAX;
    let job = new("echo", |spec| {
        (spec.deadline, spec.expires, spec.retain) = (Some(span), Some(span), span);
        spec.deadline = Some(bgjob::job::limits::SPAN);
        spec.expires = Some(bgjob::job::limits::SPAN);
        spec.retain = bgjob::job::limits::SPAN;
    });
    let ids = [job.id];
    assert_eq!(store.create(&[job]).await.unwrap(), [Created::Created]);
    let policy = SweepPolicy::default().touch(Some(SweepPolicy::TOUCH));
    store.sweep(100, &policy).await.unwrap();
    // At the last time there is every deadline has come; anywhere else the job can be had.
    let claims = store.claim(&ids, &grant(), &serves("echo")).await.unwrap();
    if let [bgjob::store::Claim::Claimed(held)] = &claims[..] {
        let failure = Failure::new(FailureKind::Error, "x");
        let retry = Retry::After(bgjob::job::limits::SPAN);
        let end = End::Error { failure, retry };
        let ending = Ending::new(held.id, held.token, end);
        let renewed = bgjob::store::Renewal::new(held.id, held.token);
        store
            .renew(&[renewed], bgjob::job::limits::SPAN)
            .await
            .unwrap();
        let finished = store.finish(&[ending]).await.unwrap();
        assert!(
            matches!(finished[..], [Finished::Applied(_)]),
            "{finished:?}"
        );
    } else {
        assert_eq!(clock.now(), Timestamp::MAX, "{claims:?}");
    }
    let at_once = new("echo", |spec| spec.retain = Duration::ZERO);
    store.create(&[at_once]).await.unwrap();
    let claimed = store
        .claim_ready(&want(9), &grant(), &serves("echo"))
        .await
        .unwrap();
    for held in claimed.jobs {
        let end = End::Success(Json::null());
        store
            .finish(&[Ending::new(held.id, held.token, end)])
            .await
            .unwrap();
    }
    store.purge(100).await.unwrap();
    store.counts().await.unwrap();
}
