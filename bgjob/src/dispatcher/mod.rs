//! The consuming side: [`JobDispatcher`] claims jobs, runs them and records how they ended.
//!
//! A dispatcher consists of these loops around one [`Core`](core::Core), and nothing else:
//!
//! | file | what it does |
//! |---|---|
//! | `fetch` | records ends and claims from the store, both in batches, as long as there are any |
//! | `search`, `exchange` | its two halves: when to look; one call and its doubts |
//! | `record` | records `ends`: in the fetch loop's call, or many in a call beside a claim |
//! | `receive` | takes hints from the queue, if there is one, and claims the jobs they name |
//! | `slot` | runs one job after the other: take → may_start → run → settle |
//! | `handler` | the user's code at work, and the reasons to end it |
//! | `cancels` | waits for cancels of running jobs and notifies the lease loop |
//! | `lease` | renews from its own thread, fences what it can't renew, ends stuck jobs |
//! | `gone` | the lease thread's last work when the runtime of the other loops is gone |
//! | `maintain` | sweeps, purges, ticks so that a blocked runtime is noticed |
//! | `clocks`, `unserved` | detect time jumps, and jobs that no dispatcher runs, for `maintain` |
//! | `told`, `deaths` | emit the events of an attempt's end; call the hooks of `on_dead` |
//! | `waits` | detects handlers that wait for their own slot or their own dispatcher's end |
//! | `shutdown` | drains, cancels, gives back; `signals` asks for it |
//!
//! What the loops share, each in a file of its name:
//!
//! | file | what it holds |
//! |---|---|
//! | `link` | the store or the queue: its calls, bounded and panic-proof, and its breaker |
//! | `served`, `config` | the jobs that run here, with services and middleware; the settings |
//! | `hands`, `hand` | claimed jobs that wait for a slot, and how many more are wanted |
//! | `grants` | the jobs held, by claim |
//! | `claims`, `suspects` | claims without an answer yet; whose turn it is to ask for a suspect |
//! | `ends` | ends that are not recorded yet |
//! | `phases`, `bells` | how far the shutdown has come; what wakes the fetch and receive loops |
//! | `tally`, `unreadable` | what `health` and the report count |
//!
//! `by_hand` is a dispatcher without loops, for tests.

mod bells;
mod builder;
#[cfg(feature = "testing")]
mod by_hand;
mod cancels;
mod claims;
mod clocks;
mod config;
mod core;
mod deaths;
mod ends;
mod exchange;
mod fetch;
mod gone;
mod grants;
mod hand;
mod handle;
mod handler;
mod hands;
mod hears;
mod lease;
mod link;
mod maintain;
mod middleware;
mod phases;
mod receive;
mod record;
mod search;
mod served;
mod shutdown;
mod signals;
mod slot;
mod suspects;
mod tally;
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
pub use signals::shutdown_signal;

use crate::JobManager;

/// The consuming side. This type has no values: [`builder`](Self::builder) configures and starts a
/// dispatcher.
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
