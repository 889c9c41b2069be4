//! What a handler can be called with: extractors, one a file.

mod context;

pub use context::{CancelReason, JobContext};
pub(crate) use context::{Held, Services};
