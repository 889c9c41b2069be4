//! [`ManualClock`] and [`TokioClock`]: clocks that move when a test says so.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use crate::{Clock, Timestamp};

/// A clock that stands still until it is moved. Clones share one time.
///
/// Moving the clock wakes nothing: code that waits for a time has to look again.
///
/// ```
/// use bgjob::{Clock, testing::ManualClock};
/// use std::time::Duration;
///
/// let clock = ManualClock::new();
/// let before = clock.now();
/// clock.advance(Duration::from_secs(3600));
/// assert_eq!(clock.now().since(before), Duration::from_secs(3600));
/// ```
#[derive(Debug, Clone)]
pub struct ManualClock(Arc<AtomicI64>);

impl ManualClock {
    /// Where a new clock stands. Any time would do; a fixed one makes a failure easy to repeat.
    const START: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    /// A clock that stands somewhere in November 2023.
    pub fn new() -> Self {
        Self::at(Self::START)
    }

    /// A clock that stands at this time.
    pub fn at(time: Timestamp) -> Self {
        Self(Arc::new(AtomicI64::new(time.as_millis())))
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        self.set(self.now() + by);
    }

    /// Sets the clock to this time, which may be in the past.
    pub fn set(&self, time: Timestamp) {
        self.0.store(time.as_millis(), Ordering::SeqCst);
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }
}

/// A clock that follows tokio's time, so that it stands still and moves with
/// [`tokio::time::pause`] and [`tokio::time::advance`].
///
/// ```
/// use bgjob::{Clock, testing::TokioClock};
/// use std::time::Duration;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// let clock = TokioClock::new();
/// let before = clock.now();
/// tokio::time::sleep(Duration::from_secs(3600)).await; // takes no time
/// assert!(clock.now().since(before) >= Duration::from_secs(3600));
/// # }
/// ```
#[derive(Debug, Clone, Copy)]
pub struct TokioClock {
    start: Instant,
    base: Timestamp,
}

impl TokioClock {
    /// A clock that starts at the time of a new [`ManualClock`].
    pub fn new() -> Self {
        Self {
            start: Instant::now(),
            base: ManualClock::START,
        }
    }
}

impl Default for TokioClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        // Whole milliseconds only: `+` rounds up, and a clock must not run ahead.
        let elapsed = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.base + Duration::from_millis(elapsed)
    }
}
