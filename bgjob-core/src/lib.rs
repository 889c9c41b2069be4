//! The part of [bgjob](https://docs.rs/bgjob) that moves slowly: what a job is, the transitions
//! that change it, the contracts of stores and queues, and the tools to write one.
//!
//! Users of bgjob name `bgjob`, which shows all of this under the same paths. A crate with a store
//! or a queue depends on this one alone, and so compiles neither the dispatcher nor another store.
//!
//! * [`store`]: [`JobStore`], the whole contract; [`DocumentStore`](store::DocumentStore), the
//!   small one; [`Documents`](store::Documents), which makes the first of the second.
//! * [`queue`]: [`JobQueue`], the contract of what carries hints.
//! * [`job`]: what is stored, and the pure functions of [`job::transition`].
//! * [`extract`]: what handlers can be called with, for crates that bring something of the kind.
//! * [`toolkit`]: wake-ups, a thread for blocking calls, the columns of a job.
//! * [`register_scheme!`]: makes `JobManager::connect` open the store by its URL.
//!
//! What is hidden from this documentation is for bgjob itself, and changes without notice.

pub mod extract;
pub mod job;
pub mod queue;
pub mod store;
pub mod toolkit;
pub mod transaction;

#[doc(hidden)]
pub mod clock;
#[doc(hidden)]
pub mod entropy;
mod error;
mod id;
#[doc(hidden)]
pub mod lock;

pub use clock::{Clock, SystemClock, Timestamp};
#[doc(hidden)]
pub use error::panic_text;
pub use error::{BoxError, Error, ErrorKind, Result};
pub use extract::{CancelReason, FromContext, JobContext, Metadata};
pub use job::{
    Backoff, Due, IntoOutcome, Job, JobError, JobId, JobSpec, Json, Outcome, Owner, Priority,
    Progress, State as JobState,
};
pub use queue::JobQueue;
pub use store::{Durability, JobStore, Want};

/// What the code of [`register_scheme!`] names.
#[doc(hidden)]
pub mod __private {
    /// What [`forward_job_store!`](crate::forward_job_store) names.
    pub mod contract {
        pub use std::{sync::Arc, time::Duration};

        pub use async_trait::async_trait;

        pub use crate::{JobId, JobStore, Result, Timestamp, job::transition::*, job::*, store::*};
    }

    #[cfg(all(feature = "linked", not(target_family = "wasm"), not(miri)))]
    pub use crate::store::linked::{BGJOB_CORE_V0_1_SCHEMES, linkme};
}
