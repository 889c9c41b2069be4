//! One [`World`] a test: a manager, a store and perhaps a queue that fail when told to, a clock
//! that follows paused time, and a log of every event.

mod events;
pub(crate) mod jobs;
mod lines;
mod probe;

use std::{future::pending, sync::Arc, time::Duration};

use bgjob::{
    DispatcherBuilder, DispatcherHandle, Job, JobDispatcher, JobId, JobManager, JobQueue, JobState,
    JobStore, Owner, Registry, Want,
    job::{ClaimedJob, Grant, Serves, Token},
    providers::{channel::ChannelQueue, memory::MemoryStore},
    store::Claim,
    testing::{Faulty, TokioClock},
};
use tokio::time::Instant;

pub(crate) use self::{
    events::{Log, What},
    lines::Lines,
    probe::Probe,
};
pub(crate) use bgjob::testing::{Call, Fault};

/// Everything a test needs.
pub(crate) struct World {
    pub(crate) jobs: JobManager,
    pub(crate) store: Faulty<MemoryStore>,
    pub(crate) queue: Option<Faulty<ChannelQueue>>,
    pub(crate) log: Log,
    pub(crate) begun: Instant,
}

impl World {
    /// A store that finds its work itself.
    pub(crate) fn new() -> Self {
        Self::build(None, None)
    }

    /// The same, but it ends jobs beside its claims from so many on.
    pub(crate) fn with_ends_beside(at_least: usize) -> Self {
        Self::build(None, Some(at_least))
    }

    /// A store with a queue beside it.
    pub(crate) fn with_queue() -> Self {
        Self::build(Some(Faulty::new(ChannelQueue::new())), None)
    }

    fn build(queue: Option<Faulty<ChannelQueue>>, finish_beside: Option<usize>) -> Self {
        let begun = Instant::now();
        let store = MemoryStore::with_clock(Arc::new(TokioClock::new()));
        let mut can = store.capabilities();
        can.finish_beside = finish_beside;
        let store = Faulty::new(store).declaring(can);
        let log = Log::default();
        let mut manager = JobManager::builder(store.clone()).on_event(log.listener());
        if let Some(queue) = &queue {
            manager = manager.queue(queue.clone());
        }
        let jobs = manager.build().expect("memory and channel go together");
        Self {
            jobs,
            store,
            queue,
            log,
            begun,
        }
    }

    /// A dispatcher of this registry that lives in paused time; the log hears it by its manager.
    pub(crate) fn dispatcher(&self, registry: Registry) -> DispatcherBuilder {
        JobDispatcher::builder(&self.jobs)
            .registry(registry)
            .without_lease_thread()
    }

    /// The same with a probe, started.
    pub(crate) async fn start(&self, registry: Registry, probe: &Probe) -> DispatcherHandle {
        let builder = self.dispatcher(registry).state(probe.clone());
        builder.start().await.expect("the dispatcher starts")
    }

    /// Time since the world began.
    pub(crate) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Forgets every hint; answers how many there were.
    pub(crate) async fn wipe(&self, queue: &str) -> usize {
        let hints = self.queue.as_ref().expect("there is a queue").inner();
        let max = 1000;
        let all = hints
            .receive(&[Want::new(queue, max)], Duration::ZERO)
            .await;
        let all: Vec<_> = all.unwrap().into_iter().map(|d| d.receipt).collect();
        hints.ack(&all).await.unwrap();
        all.len()
    }

    /// A job that must be there.
    pub(crate) async fn job(&self, id: JobId) -> Job {
        let job = self.store.inner().get(&[id]).await.expect("it answers");
        job.into_iter().flatten().next().expect("the job is there")
    }

    pub(crate) async fn state(&self, id: JobId) -> JobState {
        self.job(id).await.state()
    }

    /// How many jobs are in this state, in all queues.
    pub(crate) async fn count(&self, state: JobState) -> u64 {
        let counts = self.store.inner().counts().await.expect("it answers");
        counts.iter().map(|count| count.jobs(state)).sum()
    }

    /// Claims jobs as processes would that die at once, one for each.
    pub(crate) async fn claim_and_die(&self, ids: &[JobId], serves: &[&str]) -> Vec<ClaimedJob> {
        let mut claimed = Vec::with_capacity(ids.len());
        for id in ids {
            claimed.push(self.claim_one_and_die(*id, serves).await);
        }
        claimed
    }

    async fn claim_one_and_die(&self, id: JobId, serves: &[&str]) -> ClaimedJob {
        let grant = Grant::new(Token::random(), Owner::random(), Duration::from_secs(30));
        let jobs = serves.iter().map(|name| ((*name).into(), 0)).collect();
        let serves = Serves::new(Arc::new(jobs)).suspect(true);
        let answers = self.store.inner().claim(&[id], &grant, &serves).await;
        match answers.expect("it answers").remove(0) {
            Claim::Claimed(job) => job,
            other => panic!("not claimed: {other:?}"),
        }
    }

    /// Waits until no job waits or runs, for at most a day.
    pub(crate) async fn all_over(&self) {
        let over = async {
            while self.count(JobState::Ready).await + self.count(JobState::Running).await > 0 {
                pass(secs(1)).await;
            }
        };
        within(secs(86_400), over).await;
    }
}

/// It takes so long to get there.
pub(crate) const fn slow(before: Duration) -> Fault {
    let after = Duration::ZERO;
    Fault::Slow { before, after }
}

pub(crate) const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub(crate) const fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Takes so long: what a handler does that works, and a test in whose course time passes.
pub(crate) async fn pass(span: Duration) {
    let _ = tokio::time::timeout(span, pending::<()>()).await;
}

/// The answer, which must come within so long.
pub(crate) async fn within<T>(span: Duration, what: impl Future<Output = T>) -> T {
    match tokio::time::timeout(span, what).await {
        Ok(answer) => answer,
        Err(_) => panic!("not within {span:?}"),
    }
}
