//! What most programs use: `use bgjob::prelude::*;`

#[cfg(feature = "macros")]
#[doc(no_inline)]
pub use bgjob_macros::job;

#[doc(no_inline)]
pub use crate::{
    JobContext, JobDispatcher, JobError, JobManager, JobState, Outcome, Priority, Progress,
    extract::{FromContext, State},
};
