//! Background jobs: any document store with any queue, nothing lost.
//!
//! Annotate an async function with [`#[job]`](macro@job), enqueue it through the typed helper that
//! comes with it, and let a [`JobDispatcher`] run it:
//!
//! ```
//! use bgjob::prelude::*;
//!
//! #[job(queue = "greetings", max_attempts = 3)]
//! async fn greet_all(names: Vec<String>) -> Result<usize, JobError> {
//!     Ok(names.len())
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> bgjob::Result<()> {
//! let jobs = JobManager::connect("memory:").await?;
//! let registry = bgjob::Registry::new().with::<greet_all>();
//! let dispatcher = JobDispatcher::builder(&jobs).registry(registry).start().await?;
//!
//! let job = greet_all::enqueue(&jobs, vec!["Ada".to_owned(), "Lin".to_owned()]).await?;
//! assert_eq!(job.result().await?, 2);
//! dispatcher.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! Without `.registry(…)` a dispatcher runs every job that is linked into the program.
//!
//! * To produce: [`JobManager`], [`Enqueue`], [`JobHandle`].
//! * To consume: [`JobDispatcher`], [`extract`] (what handlers may take), [`Outcome`] and
//!   [`JobError`] (what they may return), [`Middleware`].
//! * To watch: [`Event`], [`Health`], [`JobManager::counts`], and `tracing` under the target
//!   `bgjob`; to mend many jobs at once: [`JobManager::select`] (`guide::operate`).
//! * In your own transactions: [`Enqueue::in_transaction`] and `JobTransaction`
//!   (`guide::transactions`).
//! * On PostgreSQL: URL, tables, rights, what to watch (`guide::postgres`).
//! * To test your jobs: the feature `testing` (`guide::testing`).
//! * From Sidekiq, Oban, Celery, Hangfire or apalis: their words and ours
//!   (`guide::coming_from`).
//! * To bring a store or queue: [`store`], [`queue`], [`toolkit`], and the crate
//!   `bgjob-conformance` (`guide::providers`).
//! * All of it on one page: `guide::api`.

pub mod prelude;
pub mod providers;
pub mod registry;
#[cfg(feature = "testing")]
pub mod testing;

mod calls;
mod dispatcher;
mod events;
mod manager;
mod task;

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;

// The code that `#[job]` generates names `::bgjob`. This lets bgjob's own tests define jobs.
#[cfg(all(test, feature = "macros"))]
extern crate self as bgjob;

#[doc(inline)]
pub use bgjob_core::{
    Backoff, BoxError, CancelReason, Clock, Due, Durability, Error, ErrorKind, FromContext,
    IntoOutcome, Job, JobContext, JobError, JobId, JobQueue, JobSpec, JobStore, Json, Metadata,
    Outcome, Owner, Priority, Progress, Result, SystemClock, Timestamp, Want, extract,
    extract::State,
    job,
    job::State as JobState,
    queue, register_scheme, store,
    store::{Filter, QueueCounts},
    toolkit,
};
pub(crate) use bgjob_core::{entropy, lock, transaction};
#[cfg(feature = "macros")]
#[doc = include_str!("docs/job.md")]
pub use bgjob_macros::job;
pub use dispatcher::{
    DispatcherBuilder, DispatcherHandle, Health, JobDispatcher, Middleware, Next, ShutdownReport,
    shutdown_signal,
};
pub use events::{DeadJob, Event, Fate, Part, Verdict, Via};
pub use manager::{
    Bulk, Bulked, Connect, Cursor, Enqueue, EnqueueAll, EnqueueStatement, InTransaction, JobHandle,
    JobManager, List, ManagerBuilder, Page, Select,
};
pub use registry::{JobItem, Registry};

/// The README's code, as doctests.
#[cfg(all(doctest, feature = "macros", feature = "sqlite"))]
#[doc = include_str!("../README.md")]
#[derive(Debug)]
pub struct Readme;

/// The guides, rendered and tested with the API. A guide to a feature needs that feature.
#[cfg(doc)]
pub mod guide {
    #[cfg(all(feature = "macros", feature = "testing"))]
    #[doc = include_str!("docs/testing.md")]
    pub mod testing {}

    #[cfg(all(feature = "macros", feature = "postgres"))]
    #[doc = include_str!("docs/transactions.md")]
    pub mod transactions {}

    #[cfg(feature = "macros")]
    #[doc = include_str!("docs/operate.md")]
    pub mod operate {}

    #[cfg(all(feature = "macros", feature = "postgres"))]
    #[doc = include_str!("docs/postgres.md")]
    pub mod postgres {}

    #[doc = include_str!("docs/api.md")]
    pub mod api {}

    #[doc = include_str!("docs/words.md")]
    pub mod words {}

    // Its code is cut out of examples/own_provider: a test compares the two.
    #[cfg(not(doctest))]
    #[allow(
        rustdoc::invalid_rust_codeblocks,
        reason = "excerpts end in the middle"
    )]
    #[doc = include_str!("docs/write-a-provider.md")]
    pub mod providers {}

    #[cfg(all(feature = "macros", feature = "testing"))]
    #[doc = include_str!("docs/coming-from/index.md")]
    pub mod coming_from {
        #[doc = include_str!("docs/coming-from/sidekiq.md")]
        pub mod sidekiq {}

        #[doc = include_str!("docs/coming-from/oban.md")]
        pub mod oban {}

        #[doc = include_str!("docs/coming-from/celery.md")]
        pub mod celery {}

        #[doc = include_str!("docs/coming-from/hangfire.md")]
        pub mod hangfire {}

        #[doc = include_str!("docs/coming-from/apalis.md")]
        pub mod apalis {}
    }
}
