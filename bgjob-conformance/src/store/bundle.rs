//! [`Bundle`]: a fresh store, and helpers that keep the cases short.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use bgjob::{
    Job, JobId, JobSpec, JobStore, Json, Owner, Progress, Timestamp, Want,
    job::{
        ClaimedJob, DeadReason, Due, End, Failure, FailureKind, Grant, NewJob, Phase, Retry,
        Serves, State, Token,
        transition::{Operated, Operation, SweepPolicy},
    },
    store::{
        Claim, Claimed, Created, Ending, Filter, Finished, Listed, Order, QueueCounts, Renewal,
        Renewed, Slice, Swept,
    },
};

use crate::StoreFixture;

/// The queue and name of a job by default, and the other ones that the cases use.
pub(super) const QUEUE: &str = "pictures";
pub(super) const OTHER_QUEUE: &str = "mail";
pub(super) const NAME: &str = "resize";
pub(super) const OTHER_NAME: &str = "shrink";
/// The highest metadata version that is served.
pub(super) const VERSION: u32 = 1;

pub(super) const LEASE: Duration = secs(30);
pub(super) const DAY: Duration = secs(24 * 60 * 60);

pub(super) const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// What a case of the store suite works with.
pub struct Bundle {
    /// The store under test, empty at first.
    pub store: Arc<dyn JobStore>,
    fixture: Box<dyn StoreFixture>,
    pub(super) owner: Owner,
}

impl fmt::Debug for Bundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bundle")
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}

/// A spec with some changes.
pub(super) fn spec(change: impl FnOnce(&mut JobSpec)) -> JobSpec {
    let mut spec = JobSpec::new(NAME, Json::trusted(r#"{"picture":7}"#));
    spec.queue = QUEUE.into();
    spec.version = VERSION;
    change(&mut spec);
    spec
}

/// A job to be stored, due at once.
pub(super) fn new(change: impl FnOnce(&mut JobSpec)) -> NewJob {
    due(Due::Now, change)
}

/// A job to be stored.
pub(super) fn due(due: Due, change: impl FnOnce(&mut JobSpec)) -> NewJob {
    NewJob::new(JobId::new(), spec(change), due)
}

/// A job to be stored that has this id and the other name.
pub(super) fn other_named(id: JobId) -> NewJob {
    NewJob::new(id, spec(|spec| spec.name = OTHER_NAME.into()), Due::Now)
}

/// Some jobs with nothing special about them.
pub(super) fn plain(n: usize) -> Vec<NewJob> {
    (0..n).map(|_| new(|_| {})).collect()
}

/// Like [`plain`], but one crash makes the job a suspect.
pub(super) fn fragile(n: usize) -> Vec<NewJob> {
    (0..n).map(|_| new(|spec| spec.max_crashes = 2)).collect()
}

pub(super) fn ids(jobs: &[NewJob]) -> Vec<JobId> {
    jobs.iter().map(|job| job.id).collect()
}

pub(super) fn claimed_ids(jobs: &[ClaimedJob]) -> Vec<JobId> {
    jobs.iter().map(|job| job.id).collect()
}

/// Serves every job of the cases, suspects too.
pub(super) fn serves() -> Serves {
    serving(&[(NAME, VERSION), (OTHER_NAME, VERSION)], true)
}

pub(super) fn serving(jobs: &[(&str, u32)], suspect: bool) -> Serves {
    let jobs: BTreeMap<_, _> = jobs
        .iter()
        .map(|(name, v)| (Arc::from(*name), *v))
        .collect();
    Serves::new(Arc::new(jobs)).suspect(suspect)
}

pub(super) fn success() -> End {
    End::Success(Json::trusted(r#"{"ok":true}"#))
}

pub(super) fn failure() -> Failure {
    Failure::new(FailureKind::Error, "the disk is full")
}

pub(super) fn error_after(after: Duration) -> End {
    End::Error {
        failure: failure(),
        retry: Retry::After(after),
    }
}

pub(super) fn abort() -> End {
    End::Error {
        failure: failure(),
        retry: Retry::Never(DeadReason::Aborted),
    }
}

pub(super) fn want(queue: &str, max: usize) -> Want {
    Want::new(queue, max)
}

/// One way in which a job ends.
#[derive(Debug, Clone, Copy)]
pub(super) enum To {
    Success,
    Death,
    Cancelled,
}

impl To {
    pub(super) const ALL: [Self; 3] = [Self::Success, Self::Death, Self::Cancelled];
}

impl Bundle {
    pub(crate) fn new(fixture: impl StoreFixture + 'static) -> Self {
        Self {
            store: fixture.store(),
            fixture: Box::new(fixture),
            owner: Owner::random(),
        }
    }

    /// A grant with a new token.
    pub(super) fn grant(&self) -> Grant {
        Grant::new(Token::random(), self.owner, LEASE)
    }

    pub(super) async fn advance(&self, by: Duration) {
        self.fixture.advance(by).await;
    }

    /// Makes a job unreadable. Returns whether this store can do that.
    pub(super) async fn damage(&self, id: JobId) -> bool {
        self.fixture.damage(id).await
    }

    pub(super) async fn now(&self) -> Timestamp {
        self.store.now().await.expect("the store tells its time")
    }

    pub(super) async fn create(&self, jobs: &[NewJob]) -> Vec<Created> {
        let answers = self.store.create(jobs).await.expect("create answers");
        assert_eq!(
            answers.len(),
            jobs.len(),
            "create gives one answer an element"
        );
        answers
    }

    /// Stores jobs, all of which must be new.
    pub(super) async fn add_all(&self, jobs: &[NewJob]) {
        let answers = self.create(jobs).await;
        assert_eq!(
            answers,
            vec![Created::Created; jobs.len()],
            "new jobs are stored"
        );
    }

    /// Stores a job that is due at once.
    pub(super) async fn add(&self, change: impl FnOnce(&mut JobSpec)) -> JobId {
        self.add_due(Due::Now, change).await
    }

    pub(super) async fn add_due(&self, when: Due, change: impl FnOnce(&mut JobSpec)) -> JobId {
        let job = due(when, change);
        self.add_all(std::slice::from_ref(&job)).await;
        job.id
    }

    pub(super) async fn get(&self, id: JobId) -> Option<Job> {
        let mut jobs = self.store.get(&[id]).await.expect("get answers");
        assert_eq!(jobs.len(), 1, "get gives one answer an id");
        jobs.remove(0)
    }

    /// Reads a job that must be there.
    pub(super) async fn job(&self, id: JobId) -> Job {
        self.get(id)
            .await
            .expect("a job is there until it is purged or deleted")
    }

    pub(super) async fn state(&self, id: JobId) -> State {
        self.job(id).await.state()
    }

    pub(super) async fn claim_by(
        &self,
        ids: &[JobId],
        grant: &Grant,
        serves: &Serves,
    ) -> Vec<Claim> {
        let answers = self
            .store
            .claim(ids, grant, serves)
            .await
            .expect("claim answers");
        assert_eq!(answers.len(), ids.len(), "claim gives one answer an id");
        answers
    }

    pub(super) async fn try_claim(&self, id: JobId) -> Claim {
        self.claim_by(&[id], &self.grant(), &serves())
            .await
            .remove(0)
    }

    /// Claims a job that must be claimable.
    pub(super) async fn claim(&self, id: JobId) -> ClaimedJob {
        self.claim_with(id, &self.grant()).await
    }

    pub(super) async fn claim_with(&self, id: JobId, grant: &Grant) -> ClaimedJob {
        claimed(self.claim_by(&[id], grant, &serves()).await.remove(0))
    }

    /// Stores a job and claims it.
    pub(super) async fn running(&self, change: impl FnOnce(&mut JobSpec)) -> ClaimedJob {
        let id = self.add(change).await;
        self.claim(id).await
    }

    pub(super) async fn ready_by(&self, want: &[Want], grant: &Grant, serves: &Serves) -> Claimed {
        let claimed = self.store.claim_ready(want, grant, serves).await;
        claimed.expect("claim_ready answers")
    }

    /// Claims the ready jobs of the usual queue.
    pub(super) async fn ready(&self, max: usize) -> Vec<ClaimedJob> {
        self.ready_by(&[want(QUEUE, max)], &self.grant(), &serves())
            .await
            .jobs
    }

    pub(super) async fn finish_all(&self, ends: &[Ending]) -> Vec<Finished> {
        let answers = self.store.finish(ends).await.expect("finish answers");
        assert_eq!(
            answers.len(),
            ends.len(),
            "finish gives one answer an element"
        );
        answers
    }

    pub(super) async fn try_finish(&self, id: JobId, token: Token, end: End) -> Finished {
        self.finish_all(&[Ending::new(id, token, end)])
            .await
            .remove(0)
    }

    /// Ends an attempt that must still hold its job.
    pub(super) async fn finish(&self, job: &ClaimedJob, end: End) -> State {
        match self.try_finish(job.id, job.token, end).await {
            Finished::Applied(state) => state,
            Finished::Lost => panic!("who holds a job can finish it"),
        }
    }

    pub(super) async fn renew(&self, held: &[Renewal]) -> Vec<Renewed> {
        let answers = self.store.renew(held, LEASE).await.expect("renew answers");
        assert_eq!(
            answers.len(),
            held.len(),
            "renew gives one answer an element"
        );
        answers
    }

    pub(super) async fn renew_one(&self, id: JobId, token: Token) -> Renewed {
        self.renew(&[Renewal::new(id, token)]).await.remove(0)
    }

    /// Renews a lease, with news from the handler.
    pub(super) async fn report(&self, job: &ClaimedJob, progress: Progress) {
        let renewal = Renewal::new(job.id, job.token).progress(progress);
        self.renew(&[renewal]).await;
    }

    pub(super) async fn sweep_by(&self, limit: usize, policy: &SweepPolicy) -> Vec<Swept> {
        self.store
            .sweep(limit, policy)
            .await
            .expect("sweep answers")
    }

    pub(super) async fn sweep(&self) -> Vec<Swept> {
        self.sweep_by(1000, &SweepPolicy::default()).await
    }

    pub(super) async fn operate(&self, id: JobId, operation: Operation) -> Operated {
        self.store
            .operate(id, &operation)
            .await
            .expect("operate answers")
    }

    /// Lets a job's lease run out, and has the job revoked.
    pub(super) async fn crash(&self, job: &ClaimedJob) {
        self.advance(LEASE + secs(2)).await;
        self.sweep().await;
        let now = self.get(job.id).await;
        let held = matches!(&now, Some(Job { phase: Phase::Running(hold), .. })
            if hold.token == job.token);
        assert!(!held, "a lease that ran out is revoked by a sweep");
    }

    /// A job that has crashed once, has one chance left, and whose crash backoff is over.
    pub(super) async fn suspect(&self, change: impl FnOnce(&mut JobSpec)) -> JobId {
        let last_chance = |spec: &mut JobSpec| {
            spec.max_crashes = 2;
            change(spec);
        };
        let job = self.running(last_chance).await;
        self.crash(&job).await;
        self.advance(secs(6)).await;
        job.id
    }

    /// Ends a waiting job.
    pub(super) async fn end(&self, id: JobId, to: To) {
        match to {
            To::Success => {
                let job = self.claim(id).await;
                assert_eq!(self.finish(&job, success()).await, State::Succeeded);
            }
            To::Death => {
                let job = self.claim(id).await;
                assert_eq!(self.finish(&job, abort()).await, State::Dead);
            }
            To::Cancelled => {
                let done = self.operate(id, Operation::Cancel).await;
                assert_eq!(done, Operated::Done(State::Cancelled));
            }
        }
    }

    /// Stores a job and ends it.
    pub(super) async fn ended(&self, to: To, change: impl FnOnce(&mut JobSpec)) -> JobId {
        let id = self.add(change).await;
        self.end(id, to).await;
        id
    }

    /// A page of a list whose jobs fit into one answer.
    pub(super) async fn slice(&self, filter: &Filter, slice: &Slice) -> Listed {
        self.store.list(filter, slice).await.expect("list answers")
    }

    /// The first `n` jobs after an id.
    pub(super) async fn list(&self, filter: &Filter, after: Option<JobId>, n: usize) -> Vec<Job> {
        let order = Order::Oldest;
        let slice = Slice {
            order,
            after,
            limit: n,
        };
        self.slice(filter, &slice).await.jobs
    }

    /// The counts of one name in a queue.
    pub(super) async fn count(&self, queue: &str, name: &str) -> QueueCounts {
        let counts = self.store.counts().await.expect("counts answers");
        let mut of = counts
            .into_iter()
            .filter(|count| (&*count.queue, &*count.name) == (queue, name));
        let count = of.next();
        assert_eq!(of.next(), None, "one for each queue and name");
        count.unwrap_or_else(|| QueueCounts::new(queue, name))
    }

    /// The counts of one queue by state, without zeros.
    pub(super) async fn counts(&self, queue: &str) -> Vec<(State, u64)> {
        let counts = self.store.counts().await.expect("counts answers");
        let of = |state| {
            let of = counts.iter().filter(|count| &*count.queue == queue);
            (state, of.map(|count| count.jobs(state)).sum())
        };
        let all = State::ALL.map(of).into_iter();
        all.filter(|(_, jobs)| *jobs > 0).collect()
    }

    pub(super) async fn purge(&self, limit: usize) -> usize {
        self.store.purge(limit).await.expect("purge answers")
    }
}

/// The job of a claim that must succeed.
pub(super) fn claimed(claim: Claim) -> ClaimedJob {
    match claim {
        Claim::Claimed(job) => job,
        refused => panic!("this job is due, served and free, so a claim gets it: {refused:?}"),
    }
}

/// Checks that a time lies within two others.
pub(super) fn between(time: Timestamp, from: Timestamp, to: Timestamp) {
    assert!(
        from <= time && time <= to,
        "{time} should be between {from} and {to}"
    );
}
