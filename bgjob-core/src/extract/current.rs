//! The job whose handler this thread runs, for code that a handler calls without its context.

use std::{cell::RefCell, mem, sync::Arc};

use super::HeldJob;
use crate::JobId;

thread_local! {
    static CURRENT: RefCell<Option<Arc<HeldJob>>> = const { RefCell::new(None) };
}

/// The job, if a handler is the caller.
#[doc(hidden)]
pub fn job() -> Option<Arc<HeldJob>> {
    CURRENT.with_borrow(Clone::clone)
}

/// Runs a part of a handler, with `job` as the current one. Puts the job back afterwards, even if
/// that part panics.
#[doc(hidden)]
pub fn within<T>(job: &mut Option<Arc<HeldJob>>, run: impl FnOnce() -> T) -> T {
    struct Back<'a>(&'a mut Option<Arc<HeldJob>>);
    impl Drop for Back<'_> {
        fn drop(&mut self) {
            CURRENT.with_borrow_mut(|current| mem::swap(current, self.0));
        }
    }
    CURRENT.with_borrow_mut(|current| mem::swap(current, job));
    let _back = Back(job);
    run()
}

/// Notes, until it is dropped, that a handler waits for the end of a job. Does nothing if the
/// caller is no handler.
#[doc(hidden)]
#[derive(Debug)]
pub struct WaitNote {
    job: Option<Arc<HeldJob>>,
    on: JobId,
}

impl WaitNote {
    #[doc(hidden)]
    pub fn on(on: JobId) -> Self {
        let job = job();
        if let Some(job) = &job {
            job.waits_on(on);
        }
        Self { job, on }
    }
}

impl Drop for WaitNote {
    fn drop(&mut self) {
        if let Some(job) = &self.job {
            job.waits_no_more(self.on);
        }
    }
}
