//! [`Call`] and [`Fault`]: what can go wrong, and with which calls.

use std::time::Duration;

/// A call of a contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "each is named like the method it stands for")]
#[non_exhaustive]
pub enum Call {
    // Of a `JobStore`.
    Create,
    Claim,
    ClaimReady,
    Finish,
    FinishAndClaim,
    Renew,
    Sweep,
    Operate,
    Get,
    List,
    Counts,
    Purge,
    Now,
    WaitReady,
    WaitEnded,
    WaitCancelled,
    Cancelled,
    NameWorker,
    WorkerNames,
    // Of a `JobQueue`.
    Ensure,
    Push,
    Receive,
    Ack,
    Nack,
    Depth,
    // Of a `DocumentStore`.
    Insert,
    GetDocuments,
    Replace,
    Delete,
    Scan,
    ListDocuments,
}

impl Call {
    /// The calls of a [`JobStore`](crate::JobStore).
    pub const STORE: &'static [Self] = &[
        Self::Create,
        Self::Claim,
        Self::ClaimReady,
        Self::Finish,
        Self::FinishAndClaim,
        Self::Renew,
        Self::Sweep,
        Self::Operate,
        Self::Get,
        Self::List,
        Self::Counts,
        Self::Purge,
        Self::Now,
        Self::WaitReady,
        Self::WaitEnded,
        Self::WaitCancelled,
        Self::Cancelled,
        Self::NameWorker,
        Self::WorkerNames,
    ];
    /// The calls of a [`JobQueue`](crate::JobQueue).
    pub const QUEUE: &'static [Self] = &[
        Self::Ensure,
        Self::Push,
        Self::Receive,
        Self::Ack,
        Self::Nack,
        Self::Depth,
    ];
    /// The calls of a [`DocumentStore`](crate::store::DocumentStore).
    pub const DOCUMENTS: &'static [Self] = &[
        Self::Insert,
        Self::GetDocuments,
        Self::Replace,
        Self::Delete,
        Self::Scan,
        Self::ListDocuments,
    ];

    /// A call that only waits: it may return early, and is made again.
    fn waits(self) -> bool {
        matches!(
            self,
            Self::WaitReady | Self::WaitEnded | Self::WaitCancelled
        )
    }
}

/// What happens to one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Nothing.
    None,
    /// It fails and did nothing.
    Before,
    /// It was done, but its answer is lost: the caller gets an error.
    After,
    /// It fails for good: trying again is of no use.
    Lasting,
    /// It panics and did nothing, as a provider with a bug may.
    Panic,
    /// It was done, and panics.
    PanicAfter,
    /// It takes this long to get there, and its answer to come back.
    Slow {
        /// On the way there.
        before: Duration,
        /// On the way back.
        after: Duration,
    },
    /// It is never answered, and did nothing.
    Hang,
    /// It was done and is never answered.
    HangAfter,
    /// It is done twice; the first answer is the one that is given.
    Twice,
    /// The caller gets an error now, and it is done all the same, this much later.
    Late(Duration),
    /// The simulated process that made it dies before it is done; see
    /// [`simulate!`](crate::simulate). Outside of one it hangs.
    Crash,
    /// The simulated process that made it dies when it is done.
    CrashAfter,
    /// Queues: it says that it was done and was not; what was received is gone.
    Lost,
    /// Queues: what is pushed or received comes in another order.
    Reorder,
    /// Queues: all hints of the queues that are received from are gone.
    Wipe,
}

impl Fault {
    /// A name of one word, for tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Before => "before",
            Self::After => "after",
            Self::Lasting => "lasting",
            Self::Panic => "panic",
            Self::PanicAfter => "panic-after",
            Self::Slow { .. } => "slow",
            Self::Hang => "hang",
            Self::HangAfter => "hang-after",
            Self::Twice => "twice",
            Self::Late(_) => "late",
            Self::Crash => "crash",
            Self::CrashAfter => "crash-after",
            Self::Lost => "lost",
            Self::Reorder => "reorder",
            Self::Wipe => "wipe",
        }
    }

    /// Whether this can happen to such a call.
    ///
    /// ```
    /// use bgjob::testing::{Call, Fault};
    ///
    /// assert!(Fault::Lost.fits(Call::Push));
    /// assert!(!Fault::Lost.fits(Call::Create)); // a store never forgets what it has answered
    /// ```
    pub fn fits(self, call: Call) -> bool {
        match self {
            Self::None | Self::Before | Self::Panic | Self::PanicAfter | Self::Crash => true,
            // A wait must begin when it is made.
            Self::Slow { .. }
            | Self::After
            | Self::Lasting
            | Self::CrashAfter
            | Self::Hang
            | Self::HangAfter => !call.waits(),
            // A copy of a receive would have deliveries that nobody got.
            Self::Twice | Self::Late(_) => !call.waits() && call != Call::Receive,
            Self::Lost => matches!(call, Call::Push | Call::Receive | Call::Ack),
            Self::Reorder => matches!(call, Call::Push | Call::Receive),
            Self::Wipe => call == Call::Receive,
        }
    }

    /// Panics where it can't happen to one of these calls.
    #[track_caller]
    pub(super) fn check(self, calls: &[Call]) {
        if let Some(call) = calls.iter().find(|call| !self.fits(**call)) {
            let all = [Call::STORE, Call::QUEUE, Call::DOCUMENTS].concat();
            let fitting: Vec<_> = all.into_iter().filter(|call| self.fits(*call)).collect();
            let name = self.name();
            panic!("`{name}` can't happen to {call:?}: it fits {fitting:?}");
        }
    }
}
