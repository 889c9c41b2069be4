//! Extractors of single facts, for handlers that don't need the whole [`JobContext`].

use std::{collections::BTreeMap, convert::Infallible, ops::Deref};

use tokio_util::sync::CancellationToken;

use super::{FromContext, JobContext};
use crate::{JobId, Priority};

/// The number of this attempt and the maximum; counted by errors.
///
/// ```
/// use bgjob::extract::Attempts;
///
/// async fn charge(order: u64, attempts: Attempts) {
///     if attempts.is_last() {
///         // Tell someone before it is dead.
///     }
/// }
/// # drop(charge(1, Attempts { this: 1, max: 5 }));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempts {
    /// 1 for the first, 2 after one error.
    pub this: u32,
    /// The number of errors that ends the job.
    pub max: u32,
}

impl Attempts {
    /// Whether an error of this attempt would be the last.
    pub const fn is_last(self) -> bool {
        self.this >= self.max
    }
}

/// A number that strictly grows with each start of a job. Pass it to other systems, so that they
/// can refuse an earlier attempt that comes late.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fence(pub u64);

/// The pairs a job was enqueued with.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Headers(pub BTreeMap<String, String>);

impl Deref for Headers {
    type Target = BTreeMap<String, String>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

/// The words a job was enqueued with.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tags(pub Vec<String>);

impl Deref for Tags {
    type Target = [String];

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

/// Extractors of values that the context already has, so none can fail.
macro_rules! parts {
    ($($(#[$doc:meta])* $type:ty = |$ctx:ident| $value:expr;)*) => {$(
        $(#[$doc])*
        impl FromContext for $type {
            type Error = Infallible;

            async fn from_context($ctx: &JobContext) -> Result<Self, Infallible> {
                Ok($value)
            }
        }
    )*};
}

parts! {
    JobContext = |ctx| ctx.clone();
    JobId = |ctx| ctx.id();
    Priority = |ctx| ctx.priority();
    Attempts = |ctx| Attempts { this: ctx.attempt(), max: ctx.max_attempts() };
    Fence = |ctx| Fence(ctx.fence());
    Headers = |ctx| Headers(ctx.headers().clone());
    Tags = |ctx| Tags(ctx.tags().to_vec());
    /// Cancelled when the job should end.
    CancellationToken = |ctx| ctx.cancellation();
}
