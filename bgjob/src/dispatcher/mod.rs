//! The consuming side: [`JobDispatcher`] claims jobs, runs them and records how they ended.
//!
//! One dispatcher is these loops around one [`Core`](core::Core), and nothing else:
//!
//! | file | what it does |
//! |---|---|
//! | `fetch` | records ends and claims from the store, both in batches |
//! | `record` | how `ends` are recorded, also many beside a claim |
//! | `receive` | takes hints from the queue, where there is one, and claims by them |
//! | `slots` | run one job after the other; `execute` is one attempt |
//! | `cancels` | hears that somebody has cancelled a running job |
//! | `lease` | renews from a thread of its own, fences itself, ends what is stuck |
//! | `gone` | what the lease thread does last where the runtime of all the others is gone |
//! | `maintain` | sweeps, purges, feels the runtime's pulse |
//! | `clocks`, `unserved` | see time jump, and jobs that nobody runs, for `maintain` |
//! | `told`, `deaths` | what is said of an attempt's end; who is told of deaths |
//! | `waits` | handlers that wait for a slot they have themselves, or for their dispatcher's end |
//! | `shutdown` | draining, giving back; `signals` are what asks for it |
//!
//! `by_hand` is a dispatcher without loops, for tests.

mod builder;
#[cfg(feature = "testing")]
mod by_hand;
mod cancels;
mod clocks;
mod core;
mod deaths;
mod ends;
mod execute;
mod fetch;
mod gone;
mod grants;
mod hand;
mod handle;
mod hears;
mod lease;
mod maintain;
mod middleware;
mod receive;
mod record;
mod shutdown;
mod signals;
mod slots;
mod told;
mod unreadable;
mod unserved;
mod waits;
mod worker;

pub use builder::DispatcherBuilder;
#[cfg(feature = "testing")]
pub(crate) use by_hand::ByHand;
pub use handle::{DispatcherHandle, Health, ShutdownReport};
pub use middleware::{Middleware, Next};

use crate::JobManager;

/// The consuming side. There is nothing to hold: [`builder`](Self::builder) leads to a running one.
///
/// ```
/// use bgjob::prelude::*;
///
/// #[job(name = "greet")]
/// async fn greet(name: String) -> Result<String, JobError> {
///     Ok(format!("Hello, {name}!"))
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> bgjob::Result<()> {
/// let jobs = JobManager::connect("memory:").await?;
/// let running = JobDispatcher::builder(&jobs)
///     .registry(bgjob::Registry::new().with::<greet>())
///     .start()
///     .await?;
///
/// let job = greet::enqueue(&jobs, "world".into()).await?;
/// assert_eq!(job.result().await?, "Hello, world!");
/// running.shutdown().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[non_exhaustive]
#[doc(alias = "worker")]
#[doc(alias = "server")]
#[doc(alias = "processor")]
#[doc(alias = "consumer")]
pub struct JobDispatcher;

impl JobDispatcher {
    /// A dispatcher over this manager's store and queue.
    pub fn builder(jobs: &JobManager) -> DispatcherBuilder {
        DispatcherBuilder::new(jobs.clone())
    }
}
