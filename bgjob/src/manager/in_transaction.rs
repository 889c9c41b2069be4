//! Enqueueing in the user's own transaction.

use std::{fmt, future::IntoFuture, marker::PhantomData, pin::Pin};

use serde::Serialize;

use super::{
    JobHandle, JobManager,
    answer::handle,
    batch::fitting,
    enqueue::{Enqueue, EnqueueAll},
};
use crate::{
    Error, ErrorKind, Result,
    job::{NewJob, limits},
    store,
    transaction::{self, Statement, Transaction},
};

/// An enqueue about to become part of a transaction; await it. See [`Enqueue::in_transaction`].
///
/// # Cancel safety
/// Dropping the future leaves the transaction with the job or without it: roll it back.
#[must_use = "nothing is enqueued until it is awaited"]
pub struct InTransaction<'t, E, T: ?Sized, Driver> {
    enqueue: E,
    transaction: &'t mut T,
    driver: PhantomData<fn() -> Driver>,
}

impl<'t, E, T: ?Sized, Driver> InTransaction<'t, E, T, Driver> {
    pub(super) fn new(enqueue: E, transaction: &'t mut T) -> Self {
        Self {
            enqueue,
            transaction,
            driver: PhantomData,
        }
    }
}

impl<E: fmt::Debug, T: ?Sized, Driver> fmt::Debug for InTransaction<'_, E, T, Driver> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("InTransaction").field(&self.enqueue).finish()
    }
}

/// Stores jobs in a transaction, in as few statements as the limits allow.
async fn store_all<R, Driver>(
    manager: JobManager,
    jobs: Vec<NewJob>,
    within: &mut (impl Transaction<Driver> + ?Sized),
) -> Result<Vec<JobHandle<R>>> {
    let mut handles = Vec::with_capacity(jobs.len());
    let mut rest = jobs.as_slice();
    while !rest.is_empty() {
        let (batch, later) = rest.split_at(fitting(rest.iter()));
        let own = store::in_transactions(&manager.inner.store)?;
        let statement = own.create(batch).await?;
        let answer = transaction::run(within, &statement)
            .await
            .map_err(|error| error.about(batch[0].id))?;
        handles.extend(self::handles(&manager, batch, &answer)?);
        rest = later;
    }
    Ok(handles)
}

fn handles<R>(manager: &JobManager, jobs: &[NewJob], answer: &str) -> Result<Vec<JobHandle<R>>> {
    let answers = store::created(answer, jobs.len())?;
    let handles = jobs.iter().zip(answers);
    handles
        .map(|(job, answer)| handle(manager, job, answer))
        .collect()
}

/// The statement that enqueues, for a driver that bgjob does not know: run it in your transaction
/// and hand its result back.
///
/// ```no_run
/// # use bgjob::{JobManager, BoxError};
/// # struct Client;
/// # impl Client {
/// #     async fn query_one(&self, _: &str, _: &[&str]) -> Result<String, BoxError> {
/// #         Ok(String::new())
/// #     }
/// # }
/// # async fn example(jobs: JobManager, client: Client) -> Result<(), BoxError> {
/// let statement = jobs.enqueue_raw("send_welcome", 7).statement().await?;
/// // One text in, one text out.
/// let answer = client.query_one(statement.sql(), &[statement.parameter()]).await?;
/// let job = statement.handle(&answer)?;
/// # drop(job); Ok(()) }
/// ```
pub struct EnqueueStatement<R> {
    manager: JobManager,
    statement: Statement,
    jobs: Vec<NewJob>,
    result: PhantomData<fn() -> R>,
}

impl<R> EnqueueStatement<R> {
    pub(super) async fn new(manager: JobManager, jobs: Vec<NewJob>) -> Result<Self> {
        if jobs.is_empty() || fitting(jobs.iter()) < jobs.len() {
            return Err(Error::invalid(format!(
                "one statement takes 1 to {} jobs with {} bytes of metadata, headers and tags",
                limits::BATCH,
                limits::BATCH_BYTES
            ))
            .with("jobs", jobs.len()));
        }
        Ok(Self {
            statement: store::in_transactions(&manager.inner.store)?
                .create(&jobs)
                .await?,
            jobs,
            manager,
            result: PhantomData,
        })
    }

    /// The statement. Its one parameter is `$1`. It returns one row of one column.
    pub fn sql(&self) -> &str {
        &self.statement.sql
    }

    /// The parameter, a text. It holds the metadata, so it is not for logs.
    pub fn parameter(&self) -> &str {
        &self.statement.parameter
    }

    /// The handle of the only job, or of the first, from the statement's result.
    ///
    /// # Errors
    /// `AlreadyExists` where a job of another function has its id or its shared key, `Internal`
    /// where this is not the statement's result.
    pub fn handle(&self, answer: &str) -> Result<JobHandle<R>> {
        let first = self.handles(answer)?.into_iter().next();
        first.ok_or_else(|| Error::new(ErrorKind::Internal, "a statement has a job"))
    }

    /// The handles of all jobs, in order.
    ///
    /// # Errors
    /// As for [`handle`](Self::handle), for the first job that fails.
    pub fn handles(&self, answer: &str) -> Result<Vec<JobHandle<R>>> {
        handles(&self.manager, &self.jobs, answer)
    }
}

impl<R> fmt::Debug for EnqueueStatement<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnqueueStatement")
            .field("sql", &self.statement.sql)
            .field("jobs", &self.jobs.len())
            .finish_non_exhaustive()
    }
}

type BoxFuture<'t, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 't>>;

impl<'t, M, R, T, Driver> IntoFuture for InTransaction<'t, Enqueue<M, R>, T, Driver>
where
    M: Serialize + Send + 'static,
    R: 'static,
    T: Transaction<Driver> + ?Sized,
    Driver: 'static,
{
    type Output = Result<JobHandle<R>>;
    type IntoFuture = BoxFuture<'t, JobHandle<R>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let (manager, jobs) = self.enqueue.into_jobs()?;
            let handles = store_all(manager, jobs, self.transaction).await?;
            Ok(handles.into_iter().next().expect("one handle a job"))
        })
    }
}

impl<'t, M, R, T, Driver> IntoFuture for InTransaction<'t, EnqueueAll<M, R>, T, Driver>
where
    M: Serialize + Send + 'static,
    R: 'static,
    T: Transaction<Driver> + ?Sized,
    Driver: 'static,
{
    type Output = Result<Vec<JobHandle<R>>>;
    type IntoFuture = BoxFuture<'t, Vec<JobHandle<R>>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let (manager, jobs) = self.enqueue.into_jobs()?;
            store_all(manager, jobs, self.transaction).await
        })
    }
}
