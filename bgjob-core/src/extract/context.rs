//! [`JobContext`]: what a handler can learn about its running attempt.

use std::{
    any::{Any, TypeId},
    collections::{BTreeMap, HashMap},
    fmt,
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};

use super::HeldJob;
use crate::{
    Error, ErrorKind, JobId, Priority, Progress, Result, Timestamp, job::Json, transaction::Commit,
};

/// Services by their type, as `.state(…)` collected them.
#[doc(hidden)]
pub type Services = HashMap<TypeId, Arc<dyn Any + Send + Sync>>;

/// Why a running job is asked to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CancelReason {
    /// The dispatcher shuts down and its drain time is over.
    Shutdown,
    /// The attempt took longer than its `timeout`.
    Timeout,
    /// The lease could not be renewed; another worker may already have the job. The result of this
    /// attempt will not be recorded.
    LeaseLost,
    /// Someone cancelled the job.
    User,
}

impl CancelReason {
    pub(super) const ALL: [Self; 4] = [Self::Shutdown, Self::Timeout, Self::LeaseLost, Self::User];

    /// The reason in lower case, as it is printed.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Shutdown => "shutdown",
            Self::Timeout => "timeout",
            Self::LeaseLost => "lease lost",
            Self::User => "cancelled",
        }
    }
}

impl fmt::Display for CancelReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The running attempt: what the job is, how often it was tried, and whether it should end. Cheap
/// to clone. Take it as an argument of the handler.
///
/// ```
/// use bgjob::{JobContext, Progress};
///
/// async fn resize(pages: u64, ctx: JobContext) {
///     for page in 0..pages {
///         if ctx.is_cancelled() {
///             return;
///         }
///         ctx.report(Progress::of(page, pages));
///     }
/// }
/// # drop(resize);
/// ```
#[derive(Clone)]
pub struct JobContext(Arc<HeldJob>);

impl JobContext {
    #[doc(hidden)]
    pub fn new(held: Arc<HeldJob>) -> Self {
        Self(held)
    }

    #[doc(hidden)]
    pub fn held(&self) -> &Arc<HeldJob> {
        &self.0
    }

    /// The service of this type, if the dispatcher has one.
    pub(super) fn service<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        let service = self.0.services.get(&TypeId::of::<T>())?;
        Some(
            Arc::clone(service)
                .downcast()
                .expect("services are kept by their type"),
        )
    }

    /// The job's id.
    pub fn id(&self) -> JobId {
        self.0.job.id
    }

    /// The name it was enqueued under (perhaps an alias).
    pub fn name(&self) -> &str {
        &self.0.job.spec.name
    }

    /// The queue it waited in.
    pub fn queue(&self) -> &str {
        &self.0.job.spec.queue
    }

    /// How urgent it is.
    pub fn priority(&self) -> Priority {
        self.0.job.spec.priority
    }

    /// The number of this attempt, counted by errors: 1 for the first, 2 after one error.
    pub fn attempt(&self) -> u32 {
        self.0.job.errors + 1
    }

    /// How many errors end the job.
    pub fn max_attempts(&self) -> u32 {
        self.0.job.spec.max_attempts
    }

    /// Whether an error of this attempt would be the last.
    pub fn is_last_attempt(&self) -> bool {
        self.attempt() >= self.max_attempts()
    }

    /// How often a worker's process died while it held this job.
    pub fn crashes(&self) -> u32 {
        self.0.job.crashes
    }

    /// A number that strictly grows with each start of this job. Pass it to other systems, so that
    /// they can refuse an earlier attempt that comes late.
    pub fn fence(&self) -> u64 {
        self.0.job.fence
    }

    /// How often an operator requeued the job after it had ended.
    pub fn epoch(&self) -> u32 {
        self.0.job.epoch
    }

    /// When it was enqueued.
    pub fn created_at(&self) -> Timestamp {
        self.0.job.created_at
    }

    /// When it was due.
    pub fn due_at(&self) -> Timestamp {
        self.0.job.due_at
    }

    /// When it was claimed.
    pub fn claimed_at(&self) -> Timestamp {
        self.0.job.claimed_at
    }

    /// When it must have ended, including all attempts.
    pub fn deadline(&self) -> Option<Timestamp> {
        self.0.job.deadline_at
    }

    /// The pairs it was enqueued with.
    pub fn headers(&self) -> &BTreeMap<String, String> {
        &self.0.job.spec.headers
    }

    /// The words it was enqueued with.
    pub fn tags(&self) -> &[String] {
        &self.0.job.spec.tags
    }

    /// The metadata as it was stored.
    pub fn metadata(&self) -> &Json {
        &self.0.job.spec.metadata
    }

    /// How long this attempt has been running.
    pub fn elapsed(&self) -> Duration {
        self.0
            .started
            .get()
            .map_or(Duration::ZERO, Instant::elapsed)
    }

    /// Reports the progress of the job. Only the last report is stored, with the next renewal of
    /// the lease, so frequent reports cost nothing. A renewal comes after each third of the
    /// `lease` of the dispatcher: every ten seconds by default.
    pub fn report(&self, progress: Progress) {
        self.0.report(progress.bounded());
    }

    /// Makes the success of this attempt part of a transaction. If the handler succeeds, the
    /// success is recorded in the transaction, which is then committed, unless another worker has
    /// the job by now. With any other end the transaction is rolled back. For extractors; a handler
    /// takes such an extractor, for instance `JobTransaction`.
    ///
    /// # Errors
    /// `AlreadyExists` if the attempt already has a transaction: it can't succeed in two.
    pub fn succeed_in(&self, transaction: impl Commit + 'static) -> Result<()> {
        if self.held().lend(Box::new(transaction)) {
            return Ok(());
        }
        let text = "a job has one transaction: take `JobTransaction` once";
        Err(Error::new(ErrorKind::AlreadyExists, text))
    }

    /// Whether the job should end.
    pub fn is_cancelled(&self) -> bool {
        self.cancel_reason().is_some()
    }

    /// Why it should end.
    pub fn cancel_reason(&self) -> Option<CancelReason> {
        self.0.reason()
    }

    /// Returns when the job should end. Cancel safe.
    pub fn cancelled(&self) -> WaitForCancellationFuture<'_> {
        self.0.token().cancelled()
    }

    /// A token that is cancelled when the job should end, to pass on to other code.
    pub fn cancellation(&self) -> CancellationToken {
        self.0.token().child_token()
    }
}

impl fmt::Debug for JobContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobContext")
            .field("id", &self.id())
            .field("name", &self.name())
            .field("attempt", &self.attempt())
            .finish_non_exhaustive()
    }
}
