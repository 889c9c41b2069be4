//! The user's own transactions: what a store can do in one, as a [`Statement`].

use std::fmt;

use async_trait::async_trait;

use crate::{BoxError, Error, ErrorKind, Result};

/// A call of a [`JobStore`](crate::JobStore) as a statement for the caller's own transaction: it
/// takes effect when that commits, and not at all when it rolls back.
#[derive(Clone, PartialEq, Eq)]
pub struct Statement {
    /// The statement. It has one parameter and returns one row of one column.
    pub sql: String,
    /// The parameter, a text. It holds metadata, or a token and a result, so it must not be logged:
    /// `Debug` leaves it out. A driver may still log it: tokio-postgres and sqlx do at the level
    /// `debug`.
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

/// The user's own transaction, which statements of bgjob can be part of.
///
/// It is implemented for the drivers that bgjob knows (feature `postgres`). For another driver,
/// implement it in a few lines, or use `Enqueue::statement`.
///
/// For a type of your own:
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
///
/// For a type of another crate's, a type of your own has to stand for the `Driver`: without it Rust
/// refuses the implementation, as neither trait nor type is yours. A caller does not name it. Code
/// that is generic over transactions takes `impl Transaction<D>`.
///
/// ```
/// use bgjob::{BoxError, store::{Statement, Transaction}};
/// # use std::net::TcpStream as TheirTransaction;
/// # async fn query_one(_: &mut TheirTransaction, _: &str, _: &str) -> Result<String, BoxError> {
/// #     Ok(String::new())
/// # }
///
/// enum TheirDriver {}
///
/// #[async_trait::async_trait]
/// impl Transaction<TheirDriver> for TheirTransaction {
///     async fn run(&mut self, statement: &Statement) -> Result<String, BoxError> {
///         query_one(self, &statement.sql, &statement.parameter).await
///     }
/// }
/// ```
#[async_trait]
pub trait Transaction<Driver = ()>: Send {
    /// Runs a statement and returns its one text.
    ///
    /// A [bgjob error](Error) is passed on as it is. Every other error is taken to be transient.
    async fn run(&mut self, statement: &Statement) -> Result<String, BoxError>;
}

/// Runs a statement in a transaction.
#[doc(hidden)]
pub async fn run<Driver>(
    transaction: &mut (impl Transaction<Driver> + ?Sized),
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

/// A transaction that can be committed together with an attempt's success. Dropping it rolls it
/// back.
///
/// `JobTransaction` of PostgreSQL is made of one. An extractor for another
/// driver can be built on this.
#[async_trait]
pub trait Commit: Transaction {
    /// Commits the transaction.
    async fn commit(self: Box<Self>) -> Result<(), BoxError>;
}
