//! [`HeldJob`]: a claimed job, as its dispatcher holds it.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{CancelReason, Services};
use crate::{JobId, Progress, job::ClaimedJob, lock::Locked, transaction::Commit};

/// A claimed job that this dispatcher holds, shared by its slot, its handler and the lease thread.
/// "Once" below: set at most once and never cleared.
#[doc(hidden)]
pub struct HeldJob {
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
    /// The last job whose end the handler waits for. Set and cleared by `current::WaitNote`, read
    /// by the slot.
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

impl HeldJob {
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
        let mut slot = self.transaction.locked();
        let free = slot.is_none();
        if free {
            *slot = Some(transaction);
        }
        free
    }

    /// Takes the transaction out.
    #[doc(hidden)]
    pub fn transaction(&self) -> Option<Box<dyn Commit>> {
        self.transaction.locked().take()
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
        self.waits.locked()
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
        let mut latest = self.progress.locked();
        latest.get_or_insert(progress);
    }

    /// Keeps what the handler reports, for the next renewal. It replaces an earlier report.
    pub(super) fn report(&self, progress: Progress) {
        *self.progress.locked() = Some(progress);
    }

    /// Takes the progress out, for a renewal to carry to the store.
    #[doc(hidden)]
    pub fn take_progress(&self) -> Option<Progress> {
        self.progress.locked().take()
    }
}

impl fmt::Debug for HeldJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeldJob")
            .field("id", &self.job.id)
            .finish_non_exhaustive()
    }
}
