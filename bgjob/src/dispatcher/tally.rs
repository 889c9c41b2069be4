//! [`Tally`]: what a dispatcher counts, and [`Beats`]: when its loops last came round.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::Instant;

use crate::lock::Locked;

/// Counters, read by `health` and the shutdown report.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Jobs that ended by themselves during the shutdown. Raised by `recorded`.
    pub(super) drained: AtomicUsize,
    /// Jobs given back. Raised by `recorded`.
    pub(super) released: AtomicUsize,
    /// Slots whose handler can't be stopped. Raised when the end of such a handler is decided,
    /// lowered by the slot when the handler has returned.
    pub(super) stuck: AtomicUsize,
    /// Jobs that were slowed down. Raised by `slow`.
    slowed: AtomicUsize,
    /// The names of those jobs; never more names than the registry has. Filled by `slow`.
    slow_names: Mutex<BTreeSet<Arc<str>>>,
}

impl Tally {
    /// Counts a job that was slowed down. Returns whether it is the first of this name.
    pub(super) fn slow(&self, name: &Arc<str>) -> bool {
        self.slowed.fetch_add(1, Relaxed);
        self.slow_names.locked().insert(Arc::clone(name))
    }

    pub(super) fn slowed(&self) -> usize {
        self.slowed.load(Relaxed)
    }
}

/// When each loop last came round, in milliseconds since `start`: set by each, read by `health`.
#[derive(Debug)]
pub(super) struct Beats {
    start: Instant,
    pub(super) fetch: AtomicU64,
    pub(super) lease: AtomicU64,
    pub(super) maintain: AtomicU64,
    /// A bare timer on the runtime that runs the jobs; the lease thread checks it too.
    pub(super) pulse: AtomicU64,
}

impl Beats {
    pub(super) fn new() -> Self {
        Self {
            start: Instant::now(),
            fetch: AtomicU64::new(0),
            lease: AtomicU64::new(0),
            maintain: AtomicU64::new(0),
            pulse: AtomicU64::new(0),
        }
    }

    pub(super) fn beat(&self, which: &AtomicU64) {
        which.store(self.start.elapsed().as_millis() as u64, Relaxed);
    }

    pub(super) fn age(&self, which: &AtomicU64) -> Duration {
        self.start
            .elapsed()
            .saturating_sub(Duration::from_millis(which.load(Relaxed)))
    }
}
