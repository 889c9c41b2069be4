//! What a handler can be called with: metadata first, then any number of extractors.

#[cfg(feature = "testing")]
mod by_tests;
mod combine;
mod context;
#[doc(hidden)]
pub mod current;
mod from_context;
mod held;
mod metadata;
mod needs;
mod parts;
mod state;

pub use crate::transaction::Commit;
#[doc(hidden)]
pub use context::Services;
pub use context::{CancelReason, JobContext};
pub use from_context::FromContext;
#[doc(hidden)]
pub use held::HeldJob;
#[doc(hidden)]
pub use metadata::decode;
pub use metadata::{Metadata, Upgrade};
pub use needs::Needs;
pub use parts::{Attempts, Fence, Headers, Tags};
pub use state::State;
pub use tokio_util::sync::CancellationToken;
