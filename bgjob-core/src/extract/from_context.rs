//! [`FromContext`]: the contract of a handler's argument.

use super::{JobContext, Needs};
use crate::BoxError;

/// An *extractor*: an argument that a handler can take after its metadata.
///
/// An extractor takes what it needs from the [`JobContext`], often through another extractor. It
/// may wait, say for a connection from a pool, and it may fail. Then the attempt ends in an error
/// of kind `extract`; a [`JobError`](crate::JobError) in it decides what happens next.
///
/// ```
/// use bgjob::{extract::{FromContext, Needs, State}, BoxError, JobContext};
/// # struct Pool; struct Connection;
/// # impl Pool { async fn connect(&self) -> Result<Connection, BoxError> { Ok(Connection) } }
///
/// struct Db(Connection);
///
/// impl FromContext for Db {
///     type Error = BoxError;
///
///     async fn from_context(ctx: &JobContext) -> Result<Self, BoxError> {
///         let pool = State::<Pool>::from_context(ctx).await?;
///         Ok(Self(pool.connect().await?))
///     }
///
///     fn needs(needs: &mut Needs) {
///         State::<Pool>::needs(needs);
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be an argument of a `#[job]` function",
    label = "not an extractor",
    note = "the metadata comes first; after it a job takes extractors: `JobContext`, `State<T>` \
            for a service of the dispatcher, `JobId`, `Priority`, `Attempts`, `Fence`, `Headers`, \
            `Tags`, `CancellationToken`, an `Option` or a tuple of them, or a type of your own \
            that implements `FromContext`"
)]
pub trait FromContext: Sized + Send {
    /// The error if extraction fails.
    type Error: Into<BoxError>;

    /// Extracts the value from the attempt that is about to run.
    fn from_context(ctx: &JobContext) -> impl Future<Output = Result<Self, Self::Error>> + Send;

    /// Notes which services a dispatcher must have for this to succeed; checked at its start.
    ///
    /// Provided: needs nothing.
    fn needs(needs: &mut Needs) {
        let _ = needs;
    }
}
