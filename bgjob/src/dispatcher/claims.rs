//! [`OpenClaims`]: claims sent or in doubt, whose jobs are not taken in yet. The shutdown waits for
//! them.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

/// How many claims are open: counted by [`OpenClaim`], read at the shutdown.
#[derive(Debug, Default)]
pub(super) struct OpenClaims(Arc<AtomicUsize>);

impl OpenClaims {
    /// Begins a claim. Call this before reading the phase: the shutdown sets the phase first and
    /// then looks for open claims.
    pub(super) fn begin(&self) -> OpenClaim {
        self.0.fetch_add(1, SeqCst);
        OpenClaim(Arc::clone(&self.0))
    }

    /// Whether a claim has begun whose jobs are not taken in yet.
    pub(super) fn are_open(&self) -> bool {
        self.0.load(SeqCst) > 0
    }
}

/// Counts a claim from before it is sent until its jobs are taken in.
pub(super) struct OpenClaim(Arc<AtomicUsize>);

impl Drop for OpenClaim {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}
