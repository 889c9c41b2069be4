//! What a job is, and the pure transitions that change it. Nothing here awaits or does I/O.

mod end;
mod item;
mod json;
mod misfit;
mod options;
mod outcome;
mod parse;
mod retry;
mod state;
mod strict;
pub mod transition;
mod unique;
mod wide;

pub use crate::id::{JobId, Owner, Token};
pub use end::{Attempt, AttemptEnd, End, Failure, FailureKind, Retry};
pub use item::{ClaimedJob, Due, Grant, Job, NewJob, Progress, Serves};
pub use json::Json;
#[doc(hidden)]
pub use misfit::misfit;
pub use options::{JobSpec, Priority, limits};
#[doc(hidden)]
pub use options::{Room, check_name, check_queue, check_span};
pub use outcome::{IntoOutcome, JobError, Outcome};
pub use retry::{Backoff, StoredBackoff};
pub use state::{DeadReason, Ended, Hold, How, Phase, State};
#[doc(hidden)]
pub use unique::{UniqueKey, is_shared};
#[doc(hidden)]
pub use wide::Wide;
