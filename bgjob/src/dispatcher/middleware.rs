//! [`Middleware`]: code around every job, or around those of one queue.

use std::{fmt, future::Future, pin::Pin, sync::Arc};

use async_trait::async_trait;

use crate::{JobContext, Json, Outcome, registry::Handler};

/// Code around every job, or around those of one queue. Middleware sees the context before the job
/// and the outcome after it, and may change or replace the outcome.
///
/// ```
/// use bgjob::{JobContext, Json, Middleware, Next, Outcome};
///
/// struct Timing;
///
/// #[async_trait::async_trait]
/// impl Middleware for Timing {
///     async fn handle(&self, job: JobContext, next: Next<'_>) -> Outcome<Json> {
///         let outcome = next.run(job.clone()).await;
///         println!("{} took {:?}", job.name(), job.elapsed());
///         outcome
///     }
/// }
/// # let _ = Timing;
/// ```
#[async_trait]
pub trait Middleware: Send + Sync + 'static {
    /// Called instead of the job. [`Next::run`] goes on to the next middleware, and finally to the
    /// job. Without that call the job does not run.
    async fn handle(&self, job: JobContext, next: Next<'_>) -> Outcome<Json>;
}

/// The remaining middleware, and then the job.
pub struct Next<'a> {
    rest: &'a [Arc<dyn Middleware>],
    handler: Handler,
}

impl<'a> Next<'a> {
    pub(super) fn new(rest: &'a [Arc<dyn Middleware>], handler: Handler) -> Self {
        Self { rest, handler }
    }

    /// Runs the next middleware, or the job if there is none.
    pub fn run(self, job: JobContext) -> Pin<Box<dyn Future<Output = Outcome<Json>> + Send + 'a>> {
        match self.rest {
            [] => (self.handler)(job),
            [first, rest @ ..] => first.handle(
                job,
                Next {
                    rest,
                    handler: self.handler,
                },
            ),
        }
    }
}

impl fmt::Debug for Next<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Next({} more)", self.rest.len())
    }
}
