//! What a test can do with a [`JobContext`] that a handler can't.

use crate::{CancelReason, JobContext, Progress};

/// For tests: what else only a dispatcher does.
///
/// A context of a test's own comes from [`Perform::context`](super::Perform::context).
impl JobContext {
    /// Asks the handler to end. Only the first reason counts.
    pub fn cancel(&self, reason: CancelReason) {
        self.held().cancel(reason);
    }

    /// What was last reported.
    pub fn reported(&self) -> Option<Progress> {
        let progress = self.held().take_progress()?;
        self.held().give_back_progress(progress.clone());
        Some(progress)
    }
}
