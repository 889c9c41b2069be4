//! Time as providers see it: a [`Timestamp`] and the [`Clock`] it comes from.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Deserializer, Serialize};

/// A point in time: milliseconds since the Unix epoch, UTC.
///
/// ```
/// use bgjob::Timestamp;
/// use std::time::Duration;
///
/// let noon = Timestamp::from_millis(1_700_000_000_000);
/// assert_eq!((noon + Duration::from_secs(1)).since(noon), Duration::from_secs(1));
/// assert_eq!(noon.to_string(), "2023-11-14T22:13:20.000Z");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(#[serde(deserialize_with = "clamped")] i64);

/// Clamps a time that is read: others write documents too, and an extreme time must not cause an
/// overflow.
fn clamped<'de, D: Deserializer<'de>>(from: D) -> Result<i64, D::Error> {
    i64::deserialize(from).map(|millis| Timestamp::from_millis(millis).0)
}

impl Timestamp {
    /// The Unix epoch, the earliest time that a timestamp holds.
    pub const MIN: Self = Self(0);
    /// Later than any time a job can have (the year 9999 has ended).
    pub const MAX: Self = Self(253_402_300_799_999);

    /// A time from milliseconds since the Unix epoch, clamped to [`MIN`](Self::MIN) and
    /// [`MAX`](Self::MAX).
    pub const fn from_millis(millis: i64) -> Self {
        if millis < Self::MIN.0 {
            Self::MIN
        } else if millis > Self::MAX.0 {
            Self::MAX
        } else {
            Self(millis)
        }
    }

    /// Milliseconds since the Unix epoch.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// The host's time. Within a simulation, the simulated host's time.
    pub fn now() -> Self {
        Self::simulated().unwrap_or_else(|| host().into())
    }

    /// Within a simulation, the simulated host's time.
    #[doc(hidden)]
    pub fn simulated() -> Option<Self> {
        #[cfg(feature = "testing")]
        return simulated::now();
        #[cfg(not(feature = "testing"))]
        None
    }

    /// The time from `earlier` to `self`; zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0 - earlier.0).unwrap_or(0))
    }
}

/// The host's time, also within a simulation.
#[doc(hidden)]
pub fn host() -> SystemTime {
    SystemTime::now()
}

impl std::ops::Add<Duration> for Timestamp {
    type Output = Self;

    /// Saturates at [`Timestamp::MAX`].
    fn add(self, span: Duration) -> Self {
        // Rounded up, so that "in 1 ns" is never the past of the same millisecond (never early).
        let millis = span.as_nanos().div_ceil(1_000_000);
        Self::from_millis(i64::try_from(millis).map_or(i64::MAX, |m| self.0.saturating_add(m)))
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let millis = time
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |d| d.as_millis());
        Self::from_millis(i64::try_from(millis).unwrap_or(i64::MAX))
    }
}

impl From<Timestamp> for SystemTime {
    fn from(time: Timestamp) -> Self {
        SystemTime::UNIX_EPOCH + time.since(Timestamp::MIN)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_rfc3339_millis((*self).into()).fmt(f)
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Gives the time to a provider that has no clock of its own.
///
/// ```
/// use bgjob::{Clock, SystemClock, Timestamp};
///
/// assert!(SystemClock.now() > Timestamp::MIN);
/// ```
pub trait Clock: Send + Sync + fmt::Debug {
    /// The time now.
    fn now(&self) -> Timestamp;
}

/// The host's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// The clock of the simulated process that runs on this thread.
#[cfg(feature = "testing")]
#[doc(hidden)]
pub mod simulated {
    use std::{cell::RefCell, sync::Arc};

    use super::{Clock, Timestamp};

    thread_local! {
        static CLOCK: RefCell<Option<Arc<dyn Clock>>> = const { RefCell::new(None) };
    }

    /// Uses this clock on this thread from now on. Returns the one before.
    #[doc(hidden)]
    pub fn swap(clock: Option<Arc<dyn Clock>>) -> Option<Arc<dyn Clock>> {
        CLOCK.replace(clock)
    }

    pub(super) fn now() -> Option<Timestamp> {
        CLOCK.with_borrow(|clock| clock.as_ref().map(|clock| clock.now()))
    }
}
