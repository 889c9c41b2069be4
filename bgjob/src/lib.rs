//! Background jobs: any document store with any queue, nothing lost.

pub mod extract;
pub mod job;
pub mod prelude;
pub mod providers;
pub mod queue;
pub mod registry;
pub mod store;
#[cfg(feature = "testing")]
pub mod testing;

mod clock;
mod dispatcher;
mod entropy;
mod error;
mod events;
mod manager;

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;

// The code `#[job]` makes says `::bgjob`; so bgjob's own tests can have jobs.
#[cfg(all(test, feature = "macros"))]
extern crate self as bgjob;

#[cfg(feature = "macros")]
#[doc = include_str!("docs/job.md")]
pub use bgjob_macros::job;
pub use clock::{Clock, SystemClock, Timestamp};
pub use dispatcher::{
    DispatcherBuilder, Drained, Health, JobDispatcher, Middleware, Next, Running,
};
pub use error::{BoxError, Error, ErrorKind, Result};
pub use events::{Event, Part, Verdict, Via};
pub use extract::{CancelReason, FromContext, JobContext, Metadata, State};
pub use job::{
    Backoff, Due, IntoOutcome, Job, JobError, JobId, JobSpec, Json, Outcome, Owner, Priority,
    Progress, State as JobState,
};
pub use manager::{
    Connect, Cursor, Enqueue, EnqueueAll, JobHandle, JobManager, List, ManagerBuilder, Page,
};
pub use queue::JobQueue;
pub use registry::{JobItem, Registry};
pub use store::{Durability, JobStore, Want};
