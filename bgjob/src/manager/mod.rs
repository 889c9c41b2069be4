//! The producing side: [`JobManager`] stores jobs and hints at them.

mod enqueue;

pub use enqueue::{Enqueue, EnqueueAll};

/// Stores jobs and hints at them. Cheap to clone.
#[derive(Debug, Clone)]
pub struct JobManager;
