//! [`ByHand`]: a dispatcher without loops, for tests: it runs an attempt when a test calls it.

use std::sync::Arc;

use tokio::time::Instant;

use super::{
    DispatcherBuilder,
    core::Core,
    hand::Hand,
    slot::{self, Settled},
};
use crate::{
    JobContext, Result,
    extract::HeldJob,
    job::{ClaimedJob, End, Grant, Job, Serves},
    store::{Finished, Want},
};

/// A dispatcher without loops. Everything else is the real thing: the jobs it serves, the services,
/// the middleware, and the whole attempt from decoding to its end.
#[derive(Debug)]
pub(crate) struct ByHand(Core);

impl DispatcherBuilder {
    /// Builds the dispatcher without starting it. Retries wait their whole backoff, so that a test
    /// knows when they are due.
    pub(crate) fn by_hand(self) -> Result<ByHand> {
        self.without_jitter().core().map(ByHand)
    }
}

impl ByHand {
    /// A grant for one claim.
    pub(crate) fn grant(&self) -> Grant {
        self.0.grant()
    }

    /// All jobs this dispatcher can run, including suspects.
    pub(crate) fn serves(&self) -> Serves {
        Serves::new(Arc::clone(&self.0.served.names)).suspect(true)
    }

    /// A want for one job of each served queue.
    pub(crate) fn want_one(&self) -> Vec<Want> {
        let one = |hand: &Arc<Hand>| Want::new(Arc::clone(&hand.queue), 1);
        self.0.hands.iter().map(one).collect()
    }

    /// Why this dispatcher would not run this job. `None`: it would.
    pub(crate) fn refuses(&self, job: &Job) -> Option<String> {
        let spec = &job.spec;
        if !self.serves().can_run(&spec.name, spec.version) {
            let known = self.0.served.registry.get(&spec.name).is_some();
            return Some(if known {
                "it, or its version of the metadata, is not served".to_owned()
            } else {
                self.0.served.registry.unknown(&spec.name)
            });
        }
        self.0.hands.of(&spec.queue).is_none().then(|| {
            format!(
                "its queue `{0}` is not served: name it with `.slots(\"{0}\", n)`",
                spec.queue
            )
        })
    }

    /// Checks that the dispatcher has every service that the job of this name needs.
    pub(crate) fn check_needs(&self, name: &str) -> Result<()> {
        self.0
            .served
            .check_needs(|job| job.names().any(|n| n == name))
    }

    /// The context in which the attempt of a claimed job runs.
    pub(crate) fn context(&self, job: ClaimedJob) -> JobContext {
        let services = Arc::clone(&self.0.served.services);
        JobContext::new(Arc::new(HeldJob::new(job, services, Instant::now())))
    }

    /// Runs the attempt. `None`: its end is not recorded, because the lease is lost or the end was
    /// decided elsewhere.
    pub(crate) async fn run(&self, attempt: &JobContext) -> Option<End> {
        match slot::attempt(&self.0, attempt.held()).await {
            Settled::Decided(end) | Settled::Recorded(end, Finished::Applied(_)) => Some(end),
            Settled::Recorded(_, Finished::Lost) | Settled::Abandoned | Settled::Stuck => None,
        }
    }
}
