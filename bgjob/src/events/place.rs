//! [`Place`]: where what is logged goes, to be taken along to another thread.

use tracing::{
    Dispatch, Span,
    dispatcher::{get_default, with_default},
};

/// The span and the subscriber of the thread it was made on.
pub(crate) struct Place {
    span: Span,
    subscriber: Dispatch,
}

impl Place {
    pub(crate) fn here() -> Self {
        Self {
            span: Span::current(),
            subscriber: get_default(Clone::clone),
        }
    }

    /// Runs this there, on whatever thread.
    pub(crate) fn run<T>(&self, run: impl FnOnce() -> T) -> T {
        with_default(&self.subscriber, || self.span.in_scope(run))
    }
}
