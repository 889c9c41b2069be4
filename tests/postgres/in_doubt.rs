//! Each call, with the answer to each of its statements lost in turn, and then made again: it must
//! have happened once.

use std::{sync::Arc, time::Duration};

use bgjob::{
    Due, Error, Job, JobId, JobSpec, JobState, JobStore, Json, Owner, Want,
    job::{
        End, Failure, FailureKind, Grant, NewJob, Phase, Retry, Serves, Token,
        transition::{Operated, Operation, SweepPolicy},
    },
    providers::postgres::{PostgresOptions, PostgresStore},
    store::{Claim, Created, Ending, Finished, Renewal, Renewed},
    testing::ManualClock,
};

use crate::{
    servers::proxy::Proxy,
    support::{name, open, server},
};

const LEASE: Duration = Duration::from_secs(30);
/// More than any call has statements.
const STATEMENTS: u64 = 4;

/// A store, and the way to it through a proxy.
struct Ground {
    store: PostgresStore,
    clock: ManualClock,
    proxy: Proxy,
    far: PostgresOptions,
}

impl Ground {
    async fn new() -> Self {
        let (clock, name) = (ManualClock::new(), name());
        let options = |url: &str| {
            let options = PostgresOptions::from_url(url).expect("it is a URL");
            options.schema(&name).clock(Arc::new(clock.clone()))
        };
        let store = open(&options(&server().url())).await;
        let proxy = Proxy::start(server()).await;
        // One connection, so that statements have an order.
        let far = options(&proxy.url("postgres")).connections(1);
        Self {
            store,
            clock,
            proxy,
            far,
        }
    }

    /// Makes a call that does not hear of its n-th statement, and makes it again until it is
    /// answered. The call is told whether it is a repeat.
    async fn call<T>(
        &self,
        nth: u64,
        call: impl AsyncFn(&PostgresStore, bool) -> Result<T, Error>,
    ) -> T {
        // Opened anew, and the one before cut off: what a store does by itself after a call, or for
        // a connection that is new, would be counted in the next.
        self.proxy.cut();
        let store = open(&self.far).await;
        self.proxy.swallow(nth);
        let mut repeat = false;
        loop {
            match call(&store, repeat).await {
                Ok(answer) => {
                    assert!(repeat || nth != 1, "a call has one statement at least");
                    self.proxy.swallow(0);
                    return answer;
                }
                Err(error) => assert!(error.is_retryable(), "{error:?}"),
            }
            repeat = true;
        }
    }

    async fn create(&self, job: &NewJob) {
        let created = self.store.create(std::slice::from_ref(job)).await;
        assert_eq!(created.expect("it answers"), [Created::Created]);
    }

    async fn get(&self, id: JobId) -> Job {
        let found = self.store.get(&[id]).await.expect("it answers");
        found.into_iter().flatten().next().expect("it is there")
    }

    /// A new job, held.
    async fn held(&self) -> (NewJob, Grant) {
        let (job, grant) = (job(), grant());
        self.create(&job).await;
        let claimed = self.store.claim(&[job.id], &grant, &serves()).await;
        let claimed = claimed.expect("it answers").remove(0);
        assert!(matches!(claimed, Claim::Claimed(_)), "{claimed:?}");
        (job, grant)
    }

    async fn finish(&self, nth: u64, job: &NewJob, grant: &Grant, end: End, becomes: JobState) {
        let ends = [ending(job, grant, end)];
        let finished = self.call(nth, async |store: &PostgresStore, _| {
            store.finish(&ends).await
        });
        let finished = finished.await.remove(0);
        let lost = finished == Finished::Lost;
        assert!(
            lost || finished == Finished::Applied(becomes),
            "{finished:?}"
        );
        assert_eq!(self.get(job.id).await.state(), becomes);
    }

    async fn operate(&self, nth: u64, id: JobId, operation: Operation) -> Operated {
        let call = async |store: &PostgresStore, _| store.operate(id, &operation).await;
        self.call(nth, call).await
    }
}

/// A job in a queue of its own.
fn job() -> NewJob {
    let mut spec = JobSpec::new("resize", Json::trusted("1"));
    spec.queue = name().into();
    NewJob::new(JobId::new(), Arc::new(spec), Due::Now)
}

fn grant() -> Grant {
    Grant::new(Token::random(), Owner::random(), LEASE)
}

fn serves() -> Serves {
    Serves::new(Arc::new([("resize".into(), 0)].into())).suspect(true)
}

fn want(job: &NewJob) -> [Want; 1] {
    [Want::new(Arc::clone(&job.spec.queue), 10)]
}

fn ending(job: &NewJob, grant: &Grant, end: End) -> Ending {
    Ending::new(job.id, grant.token, end)
}

fn success() -> End {
    End::Success(Json::trusted("2"))
}

#[tokio::test]
async fn a_job_is_stored_once() {
    let ground = Ground::new().await;
    for nth in 1..=STATEMENTS {
        let mut job = job();
        let spec = Arc::make_mut(&mut job.spec);
        spec.unique_key = Some(name());
        let jobs = [job];
        let created = ground
            .call(nth, async |store: &PostgresStore, _| {
                store.create(&jobs).await
            })
            .await;
        assert!(
            matches!(created[..], [Created::Created | Created::Exists]),
            "{created:?}"
        );
        assert_eq!(ground.get(jobs[0].id).await.spec, jobs[0].spec);
    }
    let counts = ground.store.counts().await.expect("it answers");
    assert_eq!(
        counts.iter().map(|count| count.total()).sum::<u64>(),
        STATEMENTS
    );
}

#[tokio::test]
async fn a_claim_is_answered_again() {
    let ground = Ground::new().await;
    for nth in 1..=STATEMENTS {
        let (by_id, by_queue) = (job(), job());
        ground.create(&by_id).await;
        ground.create(&by_queue).await;
        let (first, second) = (grant(), grant());
        let claim =
            async |store: &PostgresStore, _| store.claim(&[by_id.id], &first, &serves()).await;
        let claimed = ground.call(nth, claim).await.remove(0);
        assert!(matches!(claimed, Claim::Claimed(_)), "{claimed:?}");
        let claim = async |store: &PostgresStore, repeat| {
            let grant = second.repeat(repeat);
            store.claim_ready(&want(&by_queue), &grant, &serves()).await
        };
        let claimed = ground.call(nth, claim).await.jobs;
        assert_eq!(claimed.len(), 1);
        assert_eq!(claimed[0].id, by_queue.id);
        for job in [by_id, by_queue] {
            assert_eq!(ground.get(job.id).await.fence, 1);
        }
    }
}

#[tokio::test]
async fn an_attempt_ends_once() {
    let ground = Ground::new().await;
    for nth in 1..=STATEMENTS {
        let (job, grant) = ground.held().await;
        ground
            .finish(nth, &job, &grant, success(), JobState::Succeeded)
            .await;
        assert_eq!(ground.get(job.id).await.fence, 1);

        let (job, grant) = ground.held().await;
        let end = End::Error {
            failure: Failure::new(FailureKind::Error, "no"),
            retry: Retry::After(Duration::ZERO),
        };
        ground.finish(nth, &job, &grant, end, JobState::Ready).await;
        let stored = ground.get(job.id).await;
        assert_eq!((stored.errors, stored.history.len()), (1, 1));

        let (job, grant) = ground.held().await;
        ground
            .finish(nth, &job, &grant, End::Release, JobState::Ready)
            .await;
    }
}

#[tokio::test]
async fn an_end_and_a_claim_in_one_call_happen_once() {
    let ground = Ground::new().await;
    for nth in 1..=STATEMENTS {
        let (over, held) = ground.held().await;
        let (next, claim) = (job(), grant());
        ground.create(&next).await;
        let ends = [ending(&over, &held, success())];
        let call = async |store: &PostgresStore, repeat| {
            let grant = claim.repeat(repeat);
            let (want, serves) = (want(&next), serves());
            store.finish_and_claim(&ends, &want, &grant, &serves).await
        };
        let (finished, claimed) = ground.call(nth, call).await;
        assert_eq!(finished.len(), 1);
        assert_eq!(claimed.jobs.len(), 1);
        assert_eq!(claimed.jobs[0].id, next.id);
        assert_eq!(ground.get(over.id).await.state(), JobState::Succeeded);
        assert_eq!(ground.get(next.id).await.fence, 1);
    }
}

#[tokio::test]
async fn a_lease_is_renewed_and_a_lost_one_revoked_once() {
    let ground = Ground::new().await;
    for nth in 1..=STATEMENTS {
        let (job, grant) = ground.held().await;
        let held = [Renewal::new(job.id, grant.token)];
        let renew = async |store: &PostgresStore, _| store.renew(&held, LEASE * 2).await;
        let renewed = ground.call(nth, renew).await;
        assert_eq!(renewed, [Renewed::Renewed { cancel: false }]);
        ground.clock.advance(LEASE + Duration::from_secs(5));
        let sweep = async |store: &PostgresStore, _| store.sweep(10, &SweepPolicy::default()).await;
        assert_eq!(ground.call(nth, sweep).await, []);
        ground.clock.advance(LEASE);
        ground.call(nth, sweep).await;
        let stored = ground.get(job.id).await;
        assert_eq!((stored.state(), stored.crashes), (JobState::Ready, 1));
    }
}

#[tokio::test]
async fn an_operator_is_obeyed_once() {
    let ground = Ground::new().await;
    for nth in 1..=STATEMENTS {
        let job = job();
        ground.create(&job).await;
        let edit = Operation::Edit {
            metadata: Json::trusted("7"),
            version: 0,
            ver: 0,
        };
        ground.operate(nth, job.id, edit).await;
        let stored = ground.get(job.id).await;
        assert_eq!((stored.spec.metadata.as_str(), stored.ver), ("7", 1));
        ground.operate(nth, job.id, Operation::Cancel).await;
        assert_eq!(ground.get(job.id).await.state(), JobState::Cancelled);
        ground
            .operate(nth, job.id, Operation::Requeue(Due::Now))
            .await;
        let stored = ground.get(job.id).await;
        assert_eq!((stored.state(), stored.epoch), (JobState::Ready, 1));
        ground.operate(nth, job.id, Operation::Cancel).await;
        ground.operate(nth, job.id, Operation::Delete).await;
        let found = ground.store.get(&[job.id]).await.expect("it answers");
        assert!(found[0].is_none());

        let (job, grant) = ground.held().await;
        ground
            .finish(0, &job, &grant, success(), JobState::Succeeded)
            .await;
        let Phase::Ended(over) = ground.get(job.id).await.phase else {
            panic!("it is over")
        };
        ground
            .clock
            .advance(over.purge_at.since(over.at) + Duration::from_secs(1));
        ground
            .call(nth, async |store: &PostgresStore, _| store.purge(10).await)
            .await;
        let found = ground.store.get(&[job.id]).await.expect("it answers");
        assert!(found[0].is_none());
    }
}
