//! [`Phases`]: how far the shutdown has come.
//!
//! ```text
//! Running → Draining → Cancelling → Releasing → Stopped
//! ```

use std::sync::atomic::{AtomicU8, Ordering::SeqCst};

use tokio::sync::Notify;

/// How far the shutdown has come. The phase only moves forward and may skip steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ShutdownPhase {
    /// Claims and runs.
    Running,
    /// Claims no more; running jobs may end by themselves.
    Draining,
    /// Running jobs are asked to end.
    Cancelling,
    /// Jobs that still run are dropped and given back.
    Releasing,
    /// All ends are recorded or given up: the loops end, the lease thread last.
    Stopped,
}

impl ShutdownPhase {
    /// All phases in order; the index is the value of `Phases::now`.
    const ALL: [Self; 5] = [
        Self::Running,
        Self::Draining,
        Self::Cancelling,
        Self::Releasing,
        Self::Stopped,
    ];
}

/// The current phase, and the wait for a later one.
#[derive(Debug, Default)]
pub(super) struct Phases {
    /// The current [`ShutdownPhase`]: raised by `Core::enter`, read by all loops and handles.
    now: AtomicU8,
    /// Wakes `reached`. Unlike a `watch` it wakes in order, so that a run can be repeated.
    news: Notify,
}

impl Phases {
    pub(super) fn now(&self) -> ShutdownPhase {
        ShutdownPhase::ALL[usize::from(self.now.load(SeqCst))]
    }

    /// Moves on to a phase; never moves back. Call [`Core::enter`](super::core::Core::enter)
    /// instead, which wakes the loops too.
    pub(super) fn raise(&self, phase: ShutdownPhase) {
        self.now.fetch_max(phase as u8, SeqCst);
        self.news.notify_waiters();
    }

    /// Returns once the dispatcher has reached this phase.
    pub(super) async fn reached(&self, phase: ShutdownPhase) {
        loop {
            // Created before the check: a phase entered after this line wakes `next`.
            let next = self.news.notified();
            if self.now() >= phase {
                return;
            }
            next.await;
        }
    }
}
