//! [`Backoff`]: how long a failed job waits for its next attempt.

use std::{fmt, panic::catch_unwind, time::Duration};

use super::limits;

/// How long a failed job waits for its next attempt.
///
/// Waits are jittered unless said otherwise: the job is due at a random time between half and all
/// of the wait, so that what failed together does not come back together.
///
/// ```
/// use bgjob::Backoff;
/// use std::time::Duration;
///
/// let backoff = Backoff::exponential(Duration::from_secs(5), Duration::from_secs(3600));
/// assert_eq!(backoff.wait(1), Duration::from_secs(5));
/// assert_eq!(backoff.wait(3), Duration::from_secs(20));
/// assert_eq!(backoff.wait(99), Duration::from_secs(3600));
/// ```
#[derive(Clone, Copy)]
pub struct Backoff {
    shape: Shape,
    jitter: bool,
}

#[derive(Clone, Copy)]
enum Shape {
    Linear { step: Duration, max: Duration },
    Exponential { first: Duration, max: Duration },
    Steps(&'static [Duration]),
    Custom(fn(u32) -> Duration),
}

impl Backoff {
    /// What a job has that says nothing: 1 s, 2 s, 4 s … at most an hour, jittered.
    pub const DEFAULT: Self = Self::exponential(Duration::from_secs(1), Duration::from_secs(3600));

    /// The same wait each time.
    pub const fn constant(wait: Duration) -> Self {
        Self::linear(wait, wait)
    }

    /// `step`, twice `step`, thrice `step` …, at most `max`.
    pub const fn linear(step: Duration, max: Duration) -> Self {
        Self {
            shape: Shape::Linear { step, max },
            jitter: true,
        }
    }

    /// `first`, then twice as long each time, at most `max`.
    pub const fn exponential(first: Duration, max: Duration) -> Self {
        Self {
            shape: Shape::Exponential { first, max },
            jitter: true,
        }
    }

    /// These waits in turn, then the last one again and again. An empty list waits not at all.
    pub const fn steps(waits: &'static [Duration]) -> Self {
        Self {
            shape: Shape::Steps(waits),
            jitter: true,
        }
    }

    /// What the function answers for the number of errors so far (1 after the first).
    pub const fn custom(wait: fn(u32) -> Duration) -> Self {
        Self {
            shape: Shape::Custom(wait),
            jitter: false,
        }
    }

    /// Exactly these waits.
    #[must_use]
    pub const fn without_jitter(mut self) -> Self {
        self.jitter = false;
        self
    }

    /// The full wait after this many errors (1 after the first), at most ten years.
    pub fn wait(&self, errors: u32) -> Duration {
        let n = errors.max(1);
        let wait = match &self.shape {
            Shape::Linear { step, max } => step.saturating_mul(n).min(*max),
            Shape::Exponential { first, max } => {
                let factor = 1_u32.checked_shl(n - 1).unwrap_or(u32::MAX);
                first.saturating_mul(factor).min(*max)
            }
            Shape::Steps(waits) => {
                let nth = (n as usize).min(waits.len()).saturating_sub(1);
                waits.get(nth).copied().unwrap_or_default()
            }
            // A user's code: if it panics the job waits its step of the default.
            Shape::Custom(wait) => {
                catch_unwind(|| wait(n)).unwrap_or_else(|_| Self::DEFAULT.wait(n))
            }
        };
        wait.min(limits::SPAN)
    }

    /// The wait after this many errors, jittered with `random` from `0.0..1.0`.
    pub(crate) fn jittered(&self, errors: u32, random: f64) -> Duration {
        let wait = self.wait(errors);
        if self.jitter {
            wait.mul_f64(0.5 + random / 2.0)
        } else {
            wait
        }
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl fmt::Debug for Backoff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.shape {
            Shape::Linear { step, max } if step == max => write!(f, "constant({step:?})"),
            Shape::Linear { step, max } => write!(f, "linear({step:?}, max {max:?})"),
            Shape::Exponential { first, max } => write!(f, "exponential({first:?}, max {max:?})"),
            Shape::Steps(waits) => write!(f, "steps{waits:?}"),
            Shape::Custom(_) => f.write_str("custom"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(backoff: &Backoff, seconds: [u64; 4]) {
        let waits = [1, 2, 3, u32::MAX].map(|n| backoff.wait(n).as_secs());
        assert_eq!(waits, seconds, "{backoff:?}");
    }

    #[test]
    fn waits() {
        let s = Duration::from_secs;
        static STEPS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(10)];
        check(&Backoff::constant(s(7)), [7; 4]);
        check(&Backoff::linear(s(2), s(5)), [2, 4, 5, 5]);
        check(&Backoff::exponential(s(1), s(60)), [1, 2, 4, 60]);
        check(&Backoff::steps(&STEPS), [1, 10, 10, 10]);
        check(&Backoff::steps(&[]), [0; 4]);
        check(
            &Backoff::custom(|n| Duration::from_secs(n.into())),
            [1, 2, 3, 315_360_000],
        );
    }

    #[test]
    fn jitter_takes_away_half_at_most() {
        let backoff = Backoff::constant(Duration::from_secs(10));
        assert_eq!(backoff.jittered(1, 0.0), Duration::from_secs(5));
        assert!(backoff.jittered(1, 0.999) < Duration::from_secs(10));
        assert_eq!(
            backoff.without_jitter().jittered(1, 0.0),
            Duration::from_secs(10)
        );
    }
}
