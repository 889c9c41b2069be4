//! [`JobContext`]: what a handler can learn about its running attempt.

use std::{
    any::{Any, TypeId},
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};

use crate::{
    Error, ErrorKind, JobId, Priority, Progress, Result, Timestamp,
    job::{ClaimedJob, Json},
    transaction::Commit,
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
    const ALL: [Self; 4] = [Self::Shutdown, Self::Timeout, Self::LeaseLost, Self::User];

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
pub struct JobContext(Arc<Held>);

/// A claimed job that this dispatcher holds, shared by its slot, its handler and the lease thread.
/// "Once" below: set at most once and never cleared.
#[doc(hidden)]
pub struct Held {
    /// The store's answer to the claim; never changes.
    #[doc(hidden)]
    pub job: ClaimedJob,
    /// The dispatcher's services, read by extractors. The same `Arc` means the same dispatcher.
    #[doc(hidden)]
    pub services: Arc<Services>,
    /// Just before the claim was sent: the lease can't end earlier than this plus its length.
    #[doc(hidden)]
    pub claimed: Instant,
    /// When the last good renewal was sent, in milliseconds after `claimed`. Set by the lease
    /// thread, read through `good`.
    renewed: AtomicU64,
    /// When a slot started the attempt: once, by the slot. Read by the lease thread and `elapsed`.
    #[doc(hidden)]
    pub started: OnceLock<Instant>,
    /// Created at its first use, as most jobs end without one. Cancelled along with `reason`.
    token: OnceLock<CancellationToken>,
    /// Why the handler should end: 0, or 1 + the index of the reason in `CancelReason::ALL`. Once,
    /// by `cancel`.
    reason: AtomicU8,
    /// The last report of the handler, until the lease thread takes it for a renewal.
    progress: Mutex<Option<Progress>>,
    /// The transaction in which to record a success. Set by an extractor, taken by the slot at the
    /// end of the attempt. `None`: record the success without one.
    transaction: Mutex<Option<Box<dyn Commit>>>,
    /// The attempt's end is decided: once, by the first call of `decide`, from the slot, the lease
    /// thread (for a stuck job) or the dispatcher (for a job given back).
    decided: AtomicBool,
    /// The last job whose end the handler waits for. Set and cleared by `current::Waits`, read by
    /// the slot.
    waits: Mutex<Option<JobId>>,
    /// A job that the handler waited for and that found no free slot: once, by the slot, for the
    /// text of a time-out.
    #[doc(hidden)]
    pub blocked_on: OnceLock<JobId>,
    /// The handler has returned or was dropped: once, by the slot. Read when the runtime is gone.
    let_go: AtomicBool,
    /// The job is no longer held, as the store has answered or the lease is lost: once, by
    /// `Grants::release`.
    settled: AtomicBool,
    /// An event has said that this attempt is the job's last: once, for the event of the death.
    foretold: AtomicBool,
}

impl Held {
    #[doc(hidden)]
    pub fn new(job: ClaimedJob, services: Arc<Services>, claimed: Instant) -> Self {
        Self {
            job,
            services,
            claimed,
            renewed: AtomicU64::new(0),
            started: OnceLock::new(),
            token: OnceLock::new(),
            reason: AtomicU8::new(0),
            progress: Mutex::new(None),
            transaction: Mutex::new(None),
            decided: AtomicBool::new(false),
            waits: Mutex::new(None),
            blocked_on: OnceLock::new(),
            let_go: AtomicBool::new(false),
            settled: AtomicBool::new(false),
            foretold: AtomicBool::new(false),
        }
    }

    /// Notes that a renewal sent at this time succeeded.
    #[doc(hidden)]
    pub fn renewed(&self, sent: Instant) {
        let after = sent.duration_since(self.claimed).as_millis();
        self.renewed
            .store(u64::try_from(after).unwrap_or(0), Ordering::Relaxed);
    }

    /// The time just before the last good renewal, or else the claim, was sent: the lease can't end
    /// earlier than this plus its length.
    #[doc(hidden)]
    pub fn good(&self) -> Instant {
        self.claimed + Duration::from_millis(self.renewed.load(Ordering::Relaxed))
    }

    /// Keeps a transaction for the end of the attempt. Returns false if there already is one.
    #[doc(hidden)]
    pub fn lend(&self, transaction: Box<dyn Commit>) -> bool {
        let mut slot = self
            .transaction
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let free = slot.is_none();
        if free {
            *slot = Some(transaction);
        }
        free
    }

    /// Takes the transaction out.
    #[doc(hidden)]
    pub fn transaction(&self) -> Option<Box<dyn Commit>> {
        self.transaction
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .take()
    }

    /// Takes the right to decide how the attempt ends. Only the first caller gets true.
    #[doc(hidden)]
    pub fn decide(&self) -> bool {
        !self.decided.swap(true, Ordering::SeqCst)
    }

    #[doc(hidden)]
    pub fn is_decided(&self) -> bool {
        self.decided.load(Ordering::SeqCst)
    }

    fn waits(&self) -> MutexGuard<'_, Option<JobId>> {
        self.waits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that the handler waits for the end of this job.
    pub(super) fn waits_on(&self, on: JobId) {
        *self.waits() = Some(on);
    }

    pub(super) fn waits_no_more(&self, on: JobId) {
        self.waits().take_if(|waits| *waits == on);
    }

    /// The job whose end the handler waits for, if any.
    #[doc(hidden)]
    pub fn waits_for(&self) -> Option<JobId> {
        *self.waits()
    }

    /// Notes that the handler has returned or was dropped.
    #[doc(hidden)]
    pub fn let_go(&self) {
        self.let_go.store(true, Ordering::SeqCst);
    }

    #[doc(hidden)]
    pub fn is_let_go(&self) -> bool {
        self.let_go.load(Ordering::SeqCst)
    }

    /// Notes that the job is no longer held. Only the first call returns true.
    #[doc(hidden)]
    pub fn settle(&self) -> bool {
        !self.settled.swap(true, Ordering::SeqCst)
    }

    /// Notes that an event has said that this attempt is the job's last.
    #[doc(hidden)]
    pub fn foretell_death(&self) {
        self.foretold.store(true, Ordering::Relaxed);
    }

    #[doc(hidden)]
    pub fn was_death_foretold(&self) -> bool {
        self.foretold.load(Ordering::Relaxed)
    }

    #[doc(hidden)]
    pub fn is_settled(&self) -> bool {
        self.settled.load(Ordering::SeqCst)
    }

    /// Asks the handler to end. Only the first reason counts; returns whether this one did.
    #[doc(hidden)]
    pub fn cancel(&self, reason: CancelReason) -> bool {
        let code = 1 + CancelReason::ALL
            .iter()
            .position(|r| *r == reason)
            .unwrap_or(0) as u8;
        let first = self
            .reason
            .compare_exchange(0, code, Ordering::SeqCst, Ordering::SeqCst)
            .is_ok();
        // A token created between the two steps sees the reason at its creation.
        if let Some(token) = self.token.get() {
            token.cancel();
        }
        first
    }

    #[doc(hidden)]
    pub fn reason(&self) -> Option<CancelReason> {
        let code = self.reason.load(Ordering::SeqCst);
        CancelReason::ALL
            .get(usize::from(code).wrapping_sub(1))
            .copied()
    }

    #[doc(hidden)]
    pub fn token(&self) -> &CancellationToken {
        let token = self.token.get_or_init(CancellationToken::new);
        if self.reason().is_some() {
            token.cancel();
        }
        token
    }

    /// Returns the progress that a failed renewal carried. The next renewal carries it, unless the
    /// handler has reported something newer.
    #[doc(hidden)]
    pub fn give_back_progress(&self, progress: Progress) {
        let mut latest = self
            .progress
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        latest.get_or_insert(progress);
    }

    /// Takes the progress out, for a renewal to carry to the store.
    #[doc(hidden)]
    pub fn take_progress(&self) -> Option<Progress> {
        self.progress
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .take()
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held")
            .field("id", &self.job.id)
            .finish_non_exhaustive()
    }
}

impl JobContext {
    #[doc(hidden)]
    pub fn new(held: Arc<Held>) -> Self {
        Self(held)
    }

    #[doc(hidden)]
    pub fn held(&self) -> &Arc<Held> {
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
        let mut latest = self
            .0
            .progress
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        *latest = Some(progress.bounded());
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
