//! What a test can do with a [`JobContext`] and a handler can't.

use crate::{CancelReason, JobContext, Progress};

/// For tests: calls that only a dispatcher makes otherwise.
///
/// `Perform::context` makes a context for a test.
impl JobContext {
    /// Asks the handler to end. Only the first reason counts.
    pub fn cancel(&self, reason: CancelReason) {
        self.held().cancel(reason);
    }

    /// The progress that was last reported.
    pub fn reported(&self) -> Option<Progress> {
        let progress = self.held().take_progress()?;
        self.held().give_back_progress(progress.clone());
        Some(progress)
    }
}
