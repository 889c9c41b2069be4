//! Transactions of the user's own: what a store can do in one, as a [`Statement`].

use std::fmt;

use async_trait::async_trait;

use crate::{BoxError, Error, ErrorKind, Result};

/// What a call of a [`JobStore`](crate::JobStore) would do, as a statement for a transaction of the
/// caller's own: it happens when that commits, and not at all when it rolls back.
#[derive(Clone, PartialEq, Eq)]
pub struct Statement {
    /// The statement. It has one parameter, and answers one row of one column.
    pub sql: String,
    /// The parameter, a text. It holds metadata, or a token and a result, so it is not for logs:
    /// `Debug` leaves it out. A driver may log it all the same: tokio-postgres and sqlx do at the
    /// level `debug`.
    pub parameter: String,
}

impl fmt::Debug for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Statement")
            .field("sql", &self.sql)
            .field("parameter", &format_args!("{} bytes", self.parameter.len()))
            .finish()
    }
}

/// A transaction of the user's own that statements of bgjob can be part of.
///
/// The drivers that bgjob knows have it (see [`postgres`](crate::providers)); for another one it is
/// a few lines, or [`Enqueue::statement`](crate::Enqueue::statement).
///
/// ```
/// use bgjob::{BoxError, store::{Statement, Transaction}};
///
/// struct Mine;
/// # impl Mine {
/// #     async fn query_one(&mut self, _: &str, _: &[&str]) -> Result<String, BoxError> {
/// #         Ok(String::new())
/// #     }
/// # }
///
/// #[async_trait::async_trait]
/// impl Transaction for Mine {
///     async fn run(&mut self, statement: &Statement) -> Result<String, BoxError> {
///         self.query_one(&statement.sql, &[&statement.parameter]).await
///     }
/// }
/// ```
#[async_trait]
pub trait Transaction: Send {
    /// Runs a statement and answers its one text.
    ///
    /// An error that is a [bgjob error](Error) goes on as it is; else it counts as one that can
    /// pass.
    async fn run(&mut self, statement: &Statement) -> Result<String, BoxError>;
}

/// Runs a statement in a transaction.
pub(crate) async fn run(
    transaction: &mut (impl Transaction + ?Sized),
    statement: &Statement,
) -> Result<String> {
    let answer = transaction.run(statement).await;
    answer.map_err(|error| match error.downcast::<Error>() {
        Ok(error) => *error,
        Err(error) => Error::new(
            ErrorKind::Unavailable,
            "the statement of bgjob failed in your transaction: roll it back and begin anew",
        )
        .because(error),
    })
}

/// A transaction that an attempt's success can be committed with. Dropping it rolls it back.
///
/// `JobTransaction` of [`postgres`](crate::providers) is made of one; with this an extractor for
/// another driver can be.
#[async_trait]
pub trait Commit: Transaction {
    /// Commits it.
    async fn commit(self: Box<Self>) -> Result<(), BoxError>;
}
