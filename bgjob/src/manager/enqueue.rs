//! The builders that `enqueue` and `enqueue_all` return.

use std::{
    fmt,
    future::{Future, IntoFuture},
    marker::PhantomData,
    pin::Pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde::Serialize;

use super::{
    JobHandle, JobManager,
    options::{Options, options},
};
use crate::{
    Backoff, Error, ErrorKind, JobId, Json, Priority, Result,
    job::{Due, NewJob, UniqueKey},
    registry::JobDescriptor,
    transaction::Transaction,
};

use super::{
    answer::handle,
    in_transaction::{EnqueueStatement, InTransaction},
    source::Source,
};

/// One job about to be enqueued; await it.
///
/// It returns when the job is stored as durably as the store can. A hint that can't be pushed is
/// not an error: the sweeper gives it later.
///
/// # Errors
/// `InvalidInput` where a limit is broken (nothing is stored), `AlreadyExists` where a job of
/// another function has the id or the shared key (the error names it), otherwise the store's own
/// error. After `Unavailable` or `Timeout` the job may or may not be stored. Enqueue it again with
/// [`Error::job_id`] as [`id`](Self::id), and it can't be stored twice.
///
/// # Cancel safety
/// Dropping the future leaves the job stored or not. With an [`id`](Self::id) the enqueue can be
/// repeated.
#[must_use = "nothing is enqueued until it is awaited"]
pub struct Enqueue<M, R> {
    manager: JobManager,
    source: Source,
    metadata: M,
    id: Option<JobId>,
    unique_key: Option<UniqueKey>,
    options: Options,
    result: PhantomData<fn() -> R>,
}

/// Many jobs about to be enqueued, in one batch or as few as the limits allow; await it for their
/// handles, in order.
///
/// # Errors
/// As for [`Enqueue`], for the first job that failed. A batch is not atomic, so the error says how
/// many were stored. With ids of your own ([`id_by`](Self::id_by)) the whole call can be repeated.
/// [`each`](Self::each) returns an answer for each job.
///
/// It gives up when the store has not answered for 30 s: if the store did not take a batch, those
/// after it are not tried.
#[must_use = "nothing is enqueued until it is awaited"]
pub struct EnqueueAll<M, R> {
    manager: JobManager,
    source: Source,
    jobs: Vec<One<M>>,
    options: Options,
    result: PhantomData<fn() -> R>,
}

/// One job of many.
struct One<M> {
    metadata: M,
    id: Option<JobId>,
    unique_key: Option<UniqueKey>,
}

impl<M, R> Enqueue<M, R> {
    #[doc(hidden)]
    pub fn new(manager: &JobManager, job: &'static JobDescriptor, metadata: M) -> Self {
        Self::from_source(manager, Source::Described(job), metadata)
    }

    pub(super) fn raw(manager: &JobManager, name: Arc<str>, metadata: M) -> Self {
        Self::from_source(manager, Source::named(name), metadata)
    }

    fn from_source(manager: &JobManager, source: Source, metadata: M) -> Self {
        Self {
            manager: manager.clone(),
            source,
            metadata,
            id: None,
            unique_key: None,
            options: Options::default(),
            result: PhantomData,
        }
    }

    options!();

    /// Uses this id, which makes the enqueue safe to repeat. While a job of the same function is
    /// stored under the id, in whatever state, the handle is that job's,
    /// [`already_existed`](JobHandle::already_existed) says so, and nothing changes. Metadata is
    /// not compared.
    ///
    /// A job is stored until it is purged: `retain` after it succeeded or was cancelled, 30 days
    /// after it died. With `retain = "0s"` its id is remembered for five minutes. After that the
    /// same id makes a new job.
    ///
    /// ```
    /// use bgjob::{JobId, prelude::*};
    ///
    /// #[job(name = "enqueue_id_bill")]
    /// async fn bill(order: u64) {}
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> bgjob::Result<()> {
    /// let jobs = JobManager::connect("memory:").await?;
    /// let id = JobId::from_key("bill/17");
    /// assert!(!bill::enqueue(&jobs, 17).id(id).await?.already_existed());
    /// assert!(bill::enqueue(&jobs, 17).id(id).await?.already_existed());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The enqueue is refused with `AlreadyExists` where a job of another function has the id; the
    /// error names it. So let the key say whose job it is: `bill/17`.
    pub fn id(mut self, id: JobId) -> Self {
        self.id = Some(id);
        self
    }

    /// At most one live job of this function has this key. If there is one, the handle is that
    /// job's, and [`already_existed`](JobHandle::already_existed) says so. A job is live until it
    /// succeeded, died or was cancelled. 1 to 256 bytes.
    ///
    /// The key belongs to the function, whatever its name: with `aliases` the key is stored with
    /// the oldest name. (A program that enqueues by name and does not know the function uses the
    /// name it was given.) For a key that several functions share see
    /// [`shared_unique_key`](Self::shared_unique_key).
    ///
    /// ```
    /// use bgjob::prelude::*;
    ///
    /// #[job(name = "unique_resize")]
    /// async fn resize(image: u64) {}
    /// #[job(name = "unique_mail")]
    /// async fn mail(image: u64) {}
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> bgjob::Result<()> {
    /// let jobs = JobManager::connect("memory:").await?;
    /// let first = resize::enqueue(&jobs, 7).unique_key("image-7").await?;
    /// let again = resize::enqueue(&jobs, 7).unique_key("image-7").await?;
    /// assert_eq!((again.id(), again.already_existed()), (first.id(), true));
    /// assert!(!mail::enqueue(&jobs, 7).unique_key("image-7").await?.already_existed());
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "dedup")]
    #[doc(alias = "unique_for")]
    pub fn unique_key(mut self, key: impl Into<String>) -> Self {
        self.unique_key = Some(UniqueKey::OfJob(key.into()));
        self
    }

    /// At most one live job has this shared key, of all jobs that are enqueued with it, whatever
    /// their function. The same text given to [`unique_key`](Self::unique_key) is a different key.
    /// 1 to 256 bytes.
    ///
    /// ```
    /// use bgjob::{ErrorKind, prelude::*};
    ///
    /// #[job(name = "shared_import")]
    /// async fn import(shop: u64) {}
    /// #[job(name = "shared_export")]
    /// async fn export(shop: u64) {}
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> bgjob::Result<()> {
    /// let jobs = JobManager::connect("memory:").await?;
    /// import::enqueue(&jobs, 7).shared_unique_key("shop-7").await?;
    /// let refused = export::enqueue(&jobs, 7).shared_unique_key("shop-7").await;
    /// assert_eq!(refused.unwrap_err().kind(), ErrorKind::AlreadyExists);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The enqueue is refused with `AlreadyExists` where a live job of another function has the
    /// key: the error names it, and [`Error::job_id`] is its id. Where the holder is a job of this
    /// function, the handle is that job's.
    pub fn shared_unique_key(mut self, key: impl Into<String>) -> Self {
        self.unique_key = Some(UniqueKey::Shared(key.into()));
        self
    }
}

impl<M: Serialize, R> Enqueue<M, R> {
    /// Enqueues in your own transaction: the job is there when that commits, and never if it rolls
    /// back. The store must be in the same database ([`postgres`](crate::providers)).
    ///
    /// ```no_run
    /// # use bgjob::prelude::*;
    /// # #[cfg(feature = "postgres")]
    /// # async fn sign_up(pool: sqlx::PgPool, jobs: JobManager) -> Result<(), bgjob::BoxError> {
    /// # #[job] async fn send_welcome(user: i64) {}
    /// let mut tx = pool.begin().await?;
    /// let insert = "INSERT INTO users(name) VALUES('Ada') RETURNING id";
    /// let user: i64 = sqlx::query_scalar(insert).fetch_one(&mut *tx).await?;
    /// send_welcome::enqueue(&jobs, user).in_transaction(&mut tx).await?;
    /// tx.commit().await?;
    /// # Ok(()) }
    /// ```
    ///
    /// Until the commit the job is invisible outside the transaction: `status` returns `NotFound`.
    /// With a queue the hint comes from the sweeper, within 20 s of the commit.
    ///
    /// # Errors
    /// As for [`Enqueue`]; `Unsupported` where the store takes no part in transactions. After an
    /// error of the database the transaction can only be rolled back, as after any such error.
    pub fn in_transaction<T: Transaction<Driver> + ?Sized, Driver>(
        self,
        transaction: &mut T,
    ) -> InTransaction<'_, Self, T, Driver> {
        InTransaction::new(self, transaction)
    }

    /// The statement that stores the job, for a driver that has no
    /// [`Transaction`](crate::store::Transaction).
    ///
    /// # Errors
    /// As for [`in_transaction`](Self::in_transaction).
    pub async fn statement(self) -> Result<EnqueueStatement<R>> {
        let manager = self.manager.clone();
        let job = self.into_job()?;
        EnqueueStatement::new(manager, vec![job]).await
    }

    pub(super) fn into_jobs(self) -> Result<(JobManager, Vec<NewJob>)> {
        let manager = self.manager.clone();
        Ok((manager, vec![self.into_job()?]))
    }

    fn into_job(self) -> Result<NewJob> {
        let id = self.id.unwrap_or_else(JobId::new);
        new_job(
            &self.manager,
            &self.source,
            &self.options,
            &self.metadata,
            id,
            self.unique_key.as_ref(),
        )
    }

    async fn enqueue(self) -> Result<JobHandle<R>> {
        let manager = self.manager.clone();
        let fresh = self.id.is_none();
        let job = self.into_job()?;
        let answer = manager.inner.creates.one(job.clone(), fresh).await?;
        #[cfg(feature = "testing")]
        manager.enqueued([job.id]).await;
        handle(&manager, &job, answer)
    }
}

impl<M, R> EnqueueAll<M, R> {
    #[doc(hidden)]
    pub fn new(
        manager: &JobManager,
        job: &'static JobDescriptor,
        metadata: impl IntoIterator<Item = M>,
    ) -> Self {
        Self {
            manager: manager.clone(),
            source: Source::Described(job),
            jobs: metadata
                .into_iter()
                .map(|metadata| One {
                    metadata,
                    id: None,
                    unique_key: None,
                })
                .collect(),
            options: Options::default(),
            result: PhantomData,
        }
    }

    options!();

    /// Gives each job the id that this returns; see [`Enqueue::id`].
    pub fn id_by(mut self, id: impl Fn(&M) -> JobId) -> Self {
        for one in &mut self.jobs {
            one.id = Some(id(&one.metadata));
        }
        self
    }

    /// Gives each job the unique key that this returns; see [`Enqueue::unique_key`]. Of several
    /// jobs with one key the first is stored, and the handles of the others are that job's.
    ///
    /// ```
    /// # use bgjob::prelude::*;
    /// # #[job] async fn refresh(user: u64) {}
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> bgjob::Result<()> {
    /// let jobs = JobManager::connect("memory:").await?;
    /// let all = refresh::enqueue_all(&jobs, [7, 8, 7]);
    /// let all = all.unique_key_by(|user| format!("refresh {user}")).await?;
    /// assert_eq!(all[2].id(), all[0].id());
    /// # Ok(()) }
    /// ```
    pub fn unique_key_by<K: Into<String>>(mut self, key: impl Fn(&M) -> K) -> Self {
        for one in &mut self.jobs {
            one.unique_key = Some(UniqueKey::OfJob(key(&one.metadata).into()));
        }
        self
    }
}

impl<M: Serialize, R> EnqueueAll<M, R> {
    /// Enqueues in your own transaction; see [`Enqueue::in_transaction`].
    ///
    /// All jobs or none are stored, if you roll back after an error. An error that is not the
    /// database's (`AlreadyExists`, say, for one of the jobs) leaves the transaction open with the
    /// others in it, so a commit after it would store those.
    pub fn in_transaction<T: Transaction<Driver> + ?Sized, Driver>(
        self,
        transaction: &mut T,
    ) -> InTransaction<'_, Self, T, Driver> {
        InTransaction::new(self, transaction)
    }

    /// The statement that stores the jobs, at most 1000; see [`Enqueue::statement`].
    ///
    /// # Errors
    /// As for [`in_transaction`](Self::in_transaction), and `InvalidInput` where there are more
    /// jobs.
    pub async fn statement(self) -> Result<EnqueueStatement<R>> {
        let (manager, jobs) = self.into_jobs()?;
        EnqueueStatement::new(manager, jobs).await
    }

    /// Checks all jobs before anything is stored.
    pub(super) fn into_jobs(self) -> Result<(JobManager, Vec<NewJob>)> {
        let Self {
            manager,
            source,
            jobs,
            options,
            ..
        } = self;
        let jobs = jobs.into_iter().map(|one| {
            let id = one.id.unwrap_or_else(JobId::new);
            let (metadata, key) = (&one.metadata, one.unique_key.as_ref());
            new_job(&manager, &source, &options, metadata, id, key)
        });
        let jobs = jobs.collect::<Result<Vec<_>>>()?;
        Ok((manager, jobs))
    }

    /// Enqueues the jobs and returns an answer for each: the handles of stored jobs are not lost
    /// where others failed. An error that is [retryable](Error::is_retryable) names the id of its
    /// job. With that id the same job can be enqueued again.
    ///
    /// ```
    /// # use bgjob::prelude::*;
    /// # #[job] async fn resize(image: u64) {}
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> bgjob::Result<()> {
    /// let jobs = JobManager::connect("memory:").await?;
    /// for answer in resize::enqueue_all(&jobs, 0..3).each().await? {
    ///     match answer {
    ///         Ok(job) => println!("{} is stored", job.id()),
    ///         Err(error) => println!("{error}"),
    ///     }
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` where one of the jobs breaks a limit: then nothing is stored.
    ///
    /// # Cancel safety
    /// As for [`Enqueue`]: each job is stored or not.
    pub async fn each(self) -> Result<Vec<Result<JobHandle<R>>>> {
        let (manager, jobs) = self.into_jobs()?;
        let answers = manager.inner.creates.many(&jobs).await;
        #[cfg(feature = "testing")]
        manager.enqueued(jobs.iter().map(|job| job.id)).await;
        let answers = jobs
            .iter()
            .zip(answers)
            .map(|(job, answer)| handle(&manager, job, answer?));
        Ok(answers.collect())
    }

    async fn enqueue(self) -> Result<Vec<JobHandle<R>>> {
        let answers = self.each().await?;
        let (all, stored) = (answers.len(), answers.iter().flatten().count());
        let handles: Result<Vec<_>> = answers.into_iter().collect();
        handles.map_err(|error| error.with("stored", format!("{stored} of {all}")))
    }
}

/// Checks one job and makes it ready for the store.
fn new_job<M: Serialize>(
    manager: &JobManager,
    source: &Source,
    options: &Options,
    metadata: &M,
    id: JobId,
    unique_key: Option<&UniqueKey>,
) -> Result<NewJob> {
    let refuse = |error: Error| error.with("name", source.name()).about(id);
    let mut spec = source.spec(Json::encode(metadata).map_err(refuse)?);
    options.apply(&mut spec).map_err(refuse)?;
    source.check(&spec, metadata).map_err(refuse)?;
    let key = unique_key.map(|key| key.stored(source.oldest_name()));
    spec.unique_key = key.transpose().map_err(refuse)?;
    spec.validate(manager.inner.max_metadata).map_err(refuse)?;
    if spec.unique_key.is_some() && !manager.inner.store.capabilities().unique {
        let message = "this store has no unique keys: leave `unique_key` out";
        return Err(refuse(Error::new(ErrorKind::Unsupported, message)));
    }
    Ok(NewJob::new(id, spec, options.due).aliases(source.family()))
}

type BoxFuture<T> = Pin<Box<dyn Future<Output = Result<T>> + Send>>;

impl<M: Serialize + Send + 'static, R: 'static> IntoFuture for Enqueue<M, R> {
    type Output = Result<JobHandle<R>>;
    type IntoFuture = BoxFuture<JobHandle<R>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.enqueue())
    }
}

impl<M: Serialize + Send + 'static, R: 'static> IntoFuture for EnqueueAll<M, R> {
    type Output = Result<Vec<JobHandle<R>>>;
    type IntoFuture = BoxFuture<Vec<JobHandle<R>>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.enqueue())
    }
}

impl<M, R> fmt::Debug for Enqueue<M, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Enqueue")
            .field("name", &self.source.name())
            .finish_non_exhaustive()
    }
}

impl<M, R> fmt::Debug for EnqueueAll<M, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnqueueAll")
            .field("name", &self.source.name())
            .field("jobs", &self.jobs.len())
            .finish_non_exhaustive()
    }
}
