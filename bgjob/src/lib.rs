//! Background jobs: any document store with any queue, nothing lost.

pub mod job;
pub mod providers;
pub mod queue;
pub mod registry;
pub mod store;

mod clock;
mod entropy;
mod error;
mod extract;
mod manager;

pub use clock::{Clock, SystemClock, Timestamp};
pub use error::{BoxError, Error, ErrorKind, Result};
pub use extract::{CancelReason, JobContext};
pub use job::{
    Backoff, IntoOutcome, Job, JobError, JobId, JobSpec, Json, Outcome, Owner, Priority, Progress,
    State,
};
pub use manager::{Enqueue, EnqueueAll, JobManager};
pub use queue::JobQueue;
pub use store::{Durability, JobStore, Want};
