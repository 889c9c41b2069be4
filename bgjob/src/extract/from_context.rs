//! [`FromContext`]: the contract of a handler's argument.

use super::{JobContext, Needs};
use crate::BoxError;

/// What a handler can be called with after its metadata: an *extractor*.
///
/// An extractor takes what it needs from the [`JobContext`], often through another extractor. It
/// may wait (for a connection of a pool, say) and it may fail: then the attempt ends in an error
/// of kind `extract`, and a [`JobError`](crate::JobError) in it says what is to be done.
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
    /// What can go wrong.
    type Error: Into<BoxError>;

    /// Takes it from the attempt that is about to run.
    fn from_context(ctx: &JobContext) -> impl Future<Output = Result<Self, Self::Error>> + Send;

    /// Notes what a dispatcher must have been given for this to succeed; checked at its start.
    ///
    /// Provided: nothing.
    fn needs(needs: &mut Needs) {
        let _ = needs;
    }
}
