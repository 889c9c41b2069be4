//! [`Config`]: a dispatcher's settings.

use std::time::Duration;

use crate::entropy;

/// A dispatcher's settings; the builder's methods explain them.
#[derive(Debug, Clone)]
pub(super) struct Config {
    pub(super) lease: Duration,
    pub(super) drain: Duration,
    pub(super) cancel: Duration,
    pub(super) sweep: Duration,
    /// The lease loop runs on a thread of its own. Off only where time is simulated.
    pub(super) lease_thread: bool,
    /// Retries wait a random part of their backoff. Off only in tests that control the time.
    pub(super) jitter: bool,
    /// A success is committed with the handler's own transaction. Off only in tests that store
    /// nothing.
    pub(super) commit: bool,
}

impl Config {
    /// How long a handler may run on after a time-out or a user's cancel before it is dropped.
    pub(super) const GRACE: Duration = Duration::from_secs(5);

    /// The random factor for the jitter of a backoff; 1 keeps all of it.
    pub(super) fn jitter(&self) -> f64 {
        if self.jitter { entropy::unit() } else { 1.0 }
    }

    /// The age at which a lease is renewed.
    pub(super) fn renew_at(&self) -> Duration {
        self.lease / 3
    }

    /// The age at which a job without a good renewal is given up, well before its lease can end.
    pub(super) fn fence_at(&self) -> Duration {
        self.lease - (self.lease / 10).max(Duration::from_secs(2))
    }
}
