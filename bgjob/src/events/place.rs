//! [`Origin`]: the span and subscriber for log output, to take along to another thread.

use tracing::{
    Dispatch, Span,
    dispatcher::{get_default, with_default},
};

/// The span and the subscriber of the thread on which this was created.
pub(crate) struct Origin {
    span: Span,
    subscriber: Dispatch,
}

impl Origin {
    pub(crate) fn here() -> Self {
        Self {
            span: Span::current(),
            subscriber: get_default(Clone::clone),
        }
    }

    /// Runs `run` with this span and subscriber, on any thread.
    pub(crate) fn run<T>(&self, run: impl FnOnce() -> T) -> T {
        with_default(&self.subscriber, || self.span.in_scope(run))
    }
}
