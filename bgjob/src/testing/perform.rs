//! [`Perform`]: one attempt of one job, without store and dispatcher.

use std::{
    convert::Infallible,
    fmt,
    future::{Future, IntoFuture},
    marker::PhantomData,
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use serde::{Serialize, de::DeserializeOwned};

use super::Run;
use crate::{
    CancelReason, DispatcherBuilder, IntoOutcome, JobContext, JobDispatcher, JobId, JobManager,
    Json, Outcome, Priority, Registry, Timestamp,
    dispatcher::ByHand,
    job::{
        Due, End, Grant, Job, JobSpec, NewJob, limits,
        transition::{self, Operation},
    },
    providers::memory::MemoryStore,
    registry::JobDescriptor,
};

/// One attempt that is ready to run, made by `send_welcome::perform(metadata)`. Await it to get its
/// [`Run`].
///
/// Nothing is stored, and no dispatcher runs. Everything else is as in a real attempt: the metadata
/// is written as JSON and read again, extractors are called, panics are caught, and time-outs
/// apply. Writes of the handler to a `JobTransaction` are rolled back at the end. (With tokio's
/// time paused, `#[tokio::test(start_paused = true)]`, a time-out takes no time.)
///
/// ```
/// use bgjob::prelude::*;
/// use bgjob::extract::Attempts;
///
/// struct Mailer { down: bool }
///
/// #[job(name = "perform_mail", backoff = "exponential(10s)")]
/// async fn mail(
///     to: String,
///     mailer: State<Mailer>,
///     attempts: Attempts,
/// ) -> Result<String, JobError> {
///     if mailer.down {
///         return Err(JobError::retry("the mail server is down"));
///     }
///     Ok(format!("to {to}, attempt {}", attempts.this))
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let run = mail::perform("ada".into()).state(Mailer { down: false }).attempt(2).await;
/// assert_eq!(run.success(), "to ada, attempt 2");
///
/// let run = mail::perform("ada".into()).state(Mailer { down: true }).attempt(2).await;
/// assert_eq!(run.to_string(), "perform_mail  attempt 2  retry in 20s: the mail server is down");
/// # }
/// ```
///
/// # Panics
/// Awaiting it panics if the test is at fault: a service that the job needs is missing, an option
/// is out of range, or the result can't be read back as its type.
#[must_use = "nothing runs until it is awaited"]
pub struct Perform<M, R> {
    job: &'static JobDescriptor,
    metadata: M,
    id: JobId,
    attempt: u32,
    changes: Vec<Change>,
    dispatcher: DispatcherBuilder,
    cancel_after: Option<Duration>,
    result: PhantomData<fn() -> R>,
}

/// The options that differ from the job's own settings.
type Change = Box<dyn FnOnce(&mut JobSpec) + Send>;

impl<M, R> Perform<M, R> {
    #[doc(hidden)]
    pub fn new(job: &'static JobDescriptor, metadata: M) -> Self {
        let manager = JobManager::builder(MemoryStore::new())
            .build()
            .expect("the memory store can do everything");
        let registry = Registry::new().with_descriptor(job);
        Self {
            job,
            metadata,
            id: JobId::new(),
            attempt: 1,
            changes: Vec::new(),
            dispatcher: JobDispatcher::builder(&manager).registry(registry),
            cancel_after: None,
            result: PhantomData,
        }
    }

    /// Adds a service that the job takes as [`State<T>`](crate::State).
    pub fn state<T: Send + Sync + 'static>(mut self, service: T) -> Self {
        self.dispatcher = self.dispatcher.state(service);
        self
    }

    /// Adds a service that the test keeps as well, to look at it afterwards.
    pub fn shared_state<T: Send + Sync + 'static>(mut self, service: Arc<T>) -> Self {
        self.dispatcher = self.dispatcher.shared_state(service);
        self
    }

    /// Sets the job's id. By default the id is new.
    pub fn id(mut self, id: JobId) -> Self {
        self.id = id;
        self
    }

    /// Sets which attempt this is: 1 for the first; 3 means that two attempts ended in errors. At
    /// most [`max_attempts`](Self::max_attempts).
    pub fn attempt(mut self, attempt: u32) -> Self {
        self.attempt = attempt;
        self
    }

    /// Runs the job as if it had been enqueued with this many attempts.
    pub fn max_attempts(self, attempts: u32) -> Self {
        self.with(move |spec| spec.max_attempts = attempts)
    }

    /// Runs the job as if it had been enqueued into this queue.
    pub fn queue(self, queue: impl Into<Arc<str>>) -> Self {
        let queue = queue.into();
        self.with(|spec| spec.queue = queue)
    }

    /// Runs the job as if it had been enqueued with this priority.
    pub fn priority(self, priority: Priority) -> Self {
        self.with(move |spec| spec.priority = priority)
    }

    /// Runs the job as if it had been enqueued with this header.
    pub fn header(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let (name, value) = (name.into(), value.into());
        self.with(|spec| drop(spec.headers.insert(name, value)))
    }

    /// Runs the job as if it had been enqueued with this tag.
    pub fn tag(self, tag: impl Into<String>) -> Self {
        let tag = tag.into();
        self.with(|spec| spec.tags.push(tag))
    }

    /// Gives the metadata this version. With an older one the job's `upgrade` is called.
    pub fn version(self, version: u32) -> Self {
        self.with(move |spec| spec.version = version)
    }

    /// Replaces the metadata by a value of any type, such as an older program wrote.
    ///
    /// ```
    /// use bgjob::{BoxError, job};
    /// use serde_json::{Value, json};
    ///
    /// #[job(name = "perform_wait", version = 1, upgrade = to_millis)]
    /// async fn wait(millis: u64) -> Result<u64, BoxError> {
    ///     Ok(millis)
    /// }
    ///
    /// /// Version 0 had seconds.
    /// fn to_millis(old: Value, _version: u32) -> Result<Value, BoxError> {
    ///     Ok(json!(old["secs"].as_u64().ok_or("no seconds")? * 1000))
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let run = wait::perform(0).version(0).metadata(json!({ "secs": 7 })).await;
    /// assert_eq!(run.success(), 7000);
    /// # }
    /// ```
    ///
    /// # Panics
    /// If the value can't be written as JSON.
    #[track_caller]
    pub fn metadata(self, metadata: impl Serialize) -> Self {
        let metadata = Json::encode(&metadata).unwrap_or_else(|error| panic!("{error}"));
        self.with(|spec| spec.metadata = metadata)
    }

    /// Cancels the job after this span of tokio's time. Zero cancels it before it begins.
    pub fn cancel_after(mut self, span: Duration) -> Self {
        self.cancel_after = Some(span);
        self
    }

    /// Leaves the result as JSON: for types that serde can write but not read.
    pub fn raw(self) -> Perform<M, Outcome<Json>> {
        Perform {
            job: self.job,
            metadata: self.metadata,
            id: self.id,
            attempt: self.attempt,
            changes: self.changes,
            dispatcher: self.dispatcher,
            cancel_after: self.cancel_after,
            result: PhantomData,
        }
    }

    fn with(mut self, change: impl FnOnce(&mut JobSpec) + Send + 'static) -> Self {
        self.changes.push(Box::new(change));
        self
    }
}

impl<M: Serialize, R> Perform<M, R> {
    /// The context of this attempt, to call the function itself with.
    ///
    /// ```
    /// use bgjob::{CancelReason, prelude::*};
    ///
    /// #[job(name = "perform_export")]
    /// async fn export(pages: u64, ctx: JobContext) {
    ///     for page in 1..=pages {
    ///         if ctx.is_cancelled() {
    ///             return;
    ///         }
    ///         ctx.report(Progress::of(page, pages));
    ///     }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let ctx = export::perform(3).context();
    /// export(3, ctx.clone()).await;
    /// assert_eq!(ctx.reported(), Some(Progress::of(3, 3)));
    ///
    /// let ctx = export::perform(3).context();
    /// ctx.cancel(CancelReason::Shutdown);
    /// export(3, ctx.clone()).await;
    /// assert_eq!(ctx.reported(), None);
    /// # }
    /// ```
    #[track_caller]
    pub fn context(self) -> JobContext {
        match self.prepare() {
            Ok(prepared) => prepared.attempt,
            Err(fault) => panic!("{fault}"),
        }
    }

    /// The job, as it is when claimed.
    fn prepare(mut self) -> Result<Prepared, String> {
        let said = |error: crate::Error| error.to_string();
        let mut spec = self.job.spec(Json::encode(&self.metadata).map_err(said)?);
        for change in self.changes.drain(..) {
            change(&mut spec);
        }
        spec.validate(limits::METADATA_HARD).map_err(said)?;
        self.check_range(&spec)?;
        let queue = Arc::clone(&spec.queue);
        // Serve the queue that was set, as some dispatcher would.
        let dispatcher = self.dispatcher.slots(queue, 1).without_commit();
        let by_hand = dispatcher.by_hand().map_err(said)?;
        by_hand.check_needs(self.job.name()).map_err(said)?;
        let now = Timestamp::now();
        let new = NewJob::new(self.id, spec, Due::Now);
        let mut job = transition::create(&new, now);
        job.errors = self.attempt - 1;
        let grant = by_hand.grant();
        let claimed = transition::claim(&mut job, &grant, &by_hand.serves(), now)
            .map_err(|refusal| format!("the attempt can't begin: {refusal:?}"))?;
        Ok(Prepared {
            attempt: by_hand.context(claimed),
            by_hand,
            grant,
            job,
        })
    }

    /// Refuses an attempt or a version that no dispatcher would run.
    fn check_range(&self, spec: &JobSpec) -> Result<(), String> {
        let (name, newest) = (self.job.name(), self.job.version());
        if !(1..=spec.max_attempts).contains(&self.attempt) {
            return Err(format!(
                "`.attempt({})` of `{name}`: it has attempts 1 to {}; `.max_attempts(n)` says \
                 otherwise",
                self.attempt, spec.max_attempts
            ));
        }
        if spec.version > newest {
            return Err(format!(
                "`.version({})` of `{name}`: the newest it reads is {newest}, that of its \
                 attribute",
                spec.version
            ));
        }
        Ok(())
    }
}

/// One attempt, ready to run.
struct Prepared {
    by_hand: ByHand,
    attempt: JobContext,
    grant: Grant,
    job: Job,
}

impl Prepared {
    async fn run(mut self, cancel_after: Option<Duration>) -> Run {
        let end = self.attend(cancel_after).await;
        let (attempt, at) = (self.attempt.attempt(), self.attempt.claimed_at());
        if self.attempt.cancel_reason() == Some(CancelReason::User) {
            transition::operate(&mut self.job, &Operation::Cancel, at);
        }
        self.job.progress = self.attempt.reported();
        transition::finish(&mut self.job, self.grant.token, &end, at);
        Run::new(&end, self.job, attempt, at)
    }

    /// Runs the attempt, and cancels it when its time has come.
    async fn attend(&self, cancel_after: Option<Duration>) -> End {
        let run = self.by_hand.run(&self.attempt);
        let cancel = async {
            match cancel_after {
                Some(span) if span.is_zero() => {}
                Some(span) => tokio::time::sleep(span).await,
                None => std::future::pending().await,
            }
            self.attempt.cancel(CancelReason::User);
            std::future::pending::<Infallible>().await
        };
        let end = tokio::select! {
            biased;
            never = cancel => match never {},
            end = run => end,
        };
        // A handler that cancels itself with `LeaseLost` ends up here.
        end.unwrap_or(End::Release)
    }
}

impl<M, R> IntoFuture for Perform<M, R>
where
    M: Serialize + Send + 'static,
    R: IntoOutcome<Output: DeserializeOwned> + 'static,
{
    type Output = Run<R::Output>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    #[track_caller]
    fn into_future(self) -> Self::IntoFuture {
        let cancel_after = self.cancel_after;
        let prepared = match self.prepare() {
            Ok(prepared) => prepared,
            Err(fault) => panic!("{fault}"),
        };
        Box::pin(async move { prepared.run(cancel_after).await.typed() })
    }
}

impl<M, R> fmt::Debug for Perform<M, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Perform")
            .field("name", &self.job.name())
            .field("attempt", &self.attempt)
            .finish_non_exhaustive()
    }
}
