//! [`Call`] and [`Fault`]: what can go wrong, and in which calls.

use std::time::Duration;

/// A method of one of the three contracts.
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

    /// Whether the call only waits. Such a call may return early, and its caller repeats it.
    fn waits(self) -> bool {
        matches!(
            self,
            Self::WaitReady | Self::WaitEnded | Self::WaitCancelled
        )
    }
}

/// What goes wrong with one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Nothing goes wrong.
    None,
    /// The call fails. Nothing was done.
    Before,
    /// The call is done, but its answer is lost: the caller gets an error.
    After,
    /// The call fails permanently: a repeat is of no use.
    Lasting,
    /// The call panics, as in a provider with a bug. Nothing was done.
    Panic,
    /// The call is done, and then panics.
    PanicAfter,
    /// The call is slow, on the way to the provider and on the way back.
    Slow {
        /// How long the request takes.
        before: Duration,
        /// How long the answer takes.
        after: Duration,
    },
    /// The call is never answered. Nothing was done.
    Hang,
    /// The call is done, and never answered.
    HangAfter,
    /// The call is done twice. The caller gets the first answer.
    Twice,
    /// The caller gets an error now, and the call is done this much later.
    Late(Duration),
    /// The simulated process that made the call dies before it is done; see
    /// [`simulate!`](crate::simulate). Outside a simulation the call hangs.
    Crash,
    /// The simulated process that made the call dies once it is done.
    CrashAfter,
    /// Queues: the call reports success and is not done. What was received is gone.
    Lost,
    /// Queues: the hints that are pushed or received change their order.
    Reorder,
    /// Queues: all hints of the queues that the call receives from are gone.
    Wipe,
}

impl Fault {
    /// The name as one word, for tables.
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

    /// Whether this fault can happen to this call.
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
            // A wait must begin with its first poll.
            Self::Slow { .. }
            | Self::After
            | Self::Lasting
            | Self::CrashAfter
            | Self::Hang
            | Self::HangAfter => !call.waits(),
            // A second receive would take deliveries that no caller gets.
            Self::Twice | Self::Late(_) => !call.waits() && call != Call::Receive,
            Self::Lost => matches!(call, Call::Push | Call::Receive | Call::Ack),
            Self::Reorder => matches!(call, Call::Push | Call::Receive),
            Self::Wipe => call == Call::Receive,
        }
    }

    /// Panics if the fault can't happen to one of these calls.
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
