//! [`JobTransaction`]: a handler's own writes and its job's success, in one commit.

use std::{
    fmt,
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use sqlx::{PgConnection, PgPool, Postgres};

use bgjob_core::{
    BoxError, Error, ErrorKind, JobContext, Result,
    extract::{FromContext, Needs, State},
    transaction::{Commit, Statement, Transaction},
};

use super::error::translate;

/// A transaction for a handler: its writes and the success of its job are committed together, so
/// that its effects happen exactly once.
///
/// If the handler returns a success, the success is recorded in the transaction, which is then
/// committed. If another worker has the job by now (this one froze, and its lease ran out), nothing
/// is committed. After an error, a panic, a snooze or a time-out the transaction is rolled back.
///
/// The transaction begins on the pool that was given to the dispatcher with `.state(pool)`; that
/// pool must lead to the database of the store. A handler uses the transaction as a connection of
/// sqlx and does not commit it itself.
///
/// ```no_run
/// use bgjob::{JobError, job, providers::postgres::JobTransaction};
///
/// #[job]
/// async fn pay_out(account: i64, mut tx: JobTransaction) -> Result<(), JobError> {
///     sqlx::query("UPDATE accounts SET balance = 0 WHERE id = $1")
///         .bind(account)
///         .execute(&mut *tx)
///         .await?;
///     Ok(())
/// }
/// ```
///
/// Only the writes of this transaction are safe in this way: a mail that was sent stays sent. The
/// transaction holds a connection and its locks for as long as the handler runs.
pub struct JobTransaction {
    /// `Some` until the drop.
    open: Option<Open>,
    place: Arc<Place>,
}

type Open = sqlx::Transaction<'static, Postgres>;

/// Where the handler leaves the transaction for the commit.
type Place = Mutex<Option<Open>>;

impl FromContext for JobTransaction {
    type Error = Error;

    async fn from_context(ctx: &JobContext) -> Result<Self> {
        let pool = State::<PgPool>::from_context(ctx).await?;
        let open = pool.begin().await.map_err(translate)?;
        let place = Arc::<Place>::default();
        ctx.succeed_in(Left {
            place: Arc::clone(&place),
            open: None,
        })?;
        Ok(Self {
            open: Some(open),
            place,
        })
    }

    fn needs(needs: &mut Needs) {
        State::<PgPool>::needs(needs);
    }
}

impl Deref for JobTransaction {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        self.open.as_ref().expect("it is there until it is dropped")
    }
}

impl DerefMut for JobTransaction {
    fn deref_mut(&mut self) -> &mut PgConnection {
        self.open.as_mut().expect("it is there until it is dropped")
    }
}

#[async_trait]
impl Transaction for JobTransaction {
    async fn run(&mut self, statement: &Statement) -> Result<String, BoxError> {
        (**self).run(statement).await
    }
}

impl Drop for JobTransaction {
    fn drop(&mut self) {
        *self.place.lock().unwrap_or_else(PoisonError::into_inner) = self.open.take();
    }
}

impl fmt::Debug for JobTransaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobTransaction").finish_non_exhaustive()
    }
}

/// The transaction that the handler has left.
struct Left {
    place: Arc<Place>,
    open: Option<Open>,
}

impl Left {
    fn open(&mut self) -> Result<&mut Open> {
        let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(left) = place.take() {
            self.open = Some(left);
        }
        self.open.as_mut().ok_or_else(|| {
            let text = "the job returned while its `JobTransaction` was still in use: don't move \
                        it into a task that outlives the handler";
            Error::new(ErrorKind::InvalidInput, text)
        })
    }
}

#[async_trait]
impl Transaction for Left {
    async fn run(&mut self, statement: &Statement) -> Result<String, BoxError> {
        self.open()?.run(statement).await
    }
}

#[async_trait]
impl Commit for Left {
    async fn commit(mut self: Box<Self>) -> Result<(), BoxError> {
        self.open()?;
        match self.open {
            Some(open) => Ok(open.commit().await.map_err(translate)?),
            None => unreachable!("it was there a moment ago"),
        }
    }
}
