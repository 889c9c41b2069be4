//! [`Backoff`]: how long a failed job waits for its next attempt.

use std::{fmt, panic::catch_unwind, time::Duration};

use serde::{Deserialize, Serialize};

use super::limits;
use crate::Error;

/// How long a failed job waits for its next attempt.
///
/// Waits are jittered by default (those of [`custom`](Self::custom) are not): the job is due after
/// a random time between half of the wait and all of it, so that jobs that failed together are not
/// retried together.
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
    /// The default: 1 s, 2 s, 4 s … at most an hour, jittered.
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

    /// These waits in turn, then the last one each time. An empty list means no wait.
    pub const fn steps(waits: &'static [Duration]) -> Self {
        Self {
            shape: Shape::Steps(waits),
            jitter: true,
        }
    }

    /// The wait that the function returns for the number of errors so far (1 after the first),
    /// without jitter.
    pub const fn custom(wait: fn(u32) -> Duration) -> Self {
        Self {
            shape: Shape::Custom(wait),
            jitter: false,
        }
    }

    /// The same waits without jitter.
    #[must_use]
    pub const fn without_jitter(mut self) -> Self {
        self.jitter = false;
        self
    }

    /// The full wait after this many errors (1 after the first), at most ten years.
    pub fn wait(&self, errors: u32) -> Duration {
        let n = errors.max(1);
        let wait = match &self.shape {
            Shape::Linear { step, max } => linear(n, *step, *max),
            Shape::Exponential { first, max } => exponential(n, *first, *max),
            Shape::Steps(waits) => nth(n, waits).copied().unwrap_or_default(),
            // User code: if it panics, the job waits as the default backoff says.
            Shape::Custom(wait) => {
                catch_unwind(|| wait(n)).unwrap_or_else(|_| Self::DEFAULT.wait(n))
            }
        };
        wait.min(limits::SPAN)
    }

    /// The wait after this many errors, jittered with `random` from `0.0..1.0`.
    #[doc(hidden)]
    pub fn jittered(&self, errors: u32, random: f64) -> Duration {
        jittered(self.wait(errors), self.jitter, random)
    }
}

fn linear(n: u32, step: Duration, max: Duration) -> Duration {
    step.saturating_mul(n).min(max)
}

fn exponential(n: u32, first: Duration, max: Duration) -> Duration {
    let factor = 1_u32.checked_shl(n - 1).unwrap_or(u32::MAX);
    first.saturating_mul(factor).min(max)
}

/// The n-th of them, counted from 1, or the last one.
fn nth<T>(n: u32, waits: &[T]) -> Option<&T> {
    waits.get((n as usize).min(waits.len()).saturating_sub(1))
}

fn jittered(wait: Duration, jitter: bool, random: f64) -> Duration {
    if jitter {
        wait.mul_f64(0.5 + random / 2.0)
    } else {
        wait
    }
}

/// A [`Backoff`] as it is stored with a job: one that an enqueue gave, which overrides the
/// function's own.
///
/// Its JSON has nanoseconds: `{"exponential":[5000000000,3600000000000]}` (first wait and longest),
/// `{"linear":[step,longest]}` or `{"steps":[…]}`, and `"jitter":false` where the waits are exact.
///
/// ```
/// use bgjob::{Backoff, job::StoredBackoff};
/// use std::time::Duration;
///
/// let stored = StoredBackoff::try_from(Backoff::constant(Duration::from_secs(5)))?;
/// assert_eq!(stored.wait(9), Duration::from_secs(5));
/// # Ok::<(), bgjob::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "ReadBackoff")]
pub struct StoredBackoff {
    #[serde(flatten)]
    shape: StoredShape,
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    jitter: bool,
}

/// In nanoseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum StoredShape {
    Linear(u64, u64),
    Exponential(u64, u64),
    Steps(Vec<u64>),
}

/// A stored backoff as it is read. A field that this program does not know is an error: writing the
/// job back would lose the field.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadBackoff {
    linear: Option<(u64, u64)>,
    exponential: Option<(u64, u64)>,
    steps: Option<Vec<u64>>,
    #[serde(default = "yes")]
    jitter: bool,
}

impl TryFrom<ReadBackoff> for StoredBackoff {
    type Error = &'static str;

    fn try_from(read: ReadBackoff) -> Result<Self, &'static str> {
        let shape = match (read.linear, read.exponential, read.steps) {
            (Some((step, max)), None, None) => StoredShape::Linear(step, max),
            (None, Some((first, max)), None) => StoredShape::Exponential(first, max),
            (None, None, Some(waits)) => StoredShape::Steps(waits),
            _ => return Err("a backoff has one of `linear`, `exponential` and `steps`"),
        };
        Ok(Self {
            shape,
            jitter: read.jitter,
        })
    }
}

const fn yes() -> bool {
    true
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
const fn is_yes(jitter: &bool) -> bool {
    *jitter
}

impl StoredBackoff {
    /// The full wait after this many errors (1 after the first), at most ten years.
    pub fn wait(&self, errors: u32) -> Duration {
        let n = errors.max(1);
        let span = Duration::from_nanos;
        let wait = match &self.shape {
            StoredShape::Linear(step, max) => linear(n, span(*step), span(*max)),
            StoredShape::Exponential(first, max) => exponential(n, span(*first), span(*max)),
            StoredShape::Steps(waits) => span(nth(n, waits).copied().unwrap_or_default()),
        };
        wait.min(limits::SPAN)
    }

    /// The wait after this many errors, jittered with `random` from `0.0..1.0`.
    #[doc(hidden)]
    pub fn jittered(&self, errors: u32, random: f64) -> Duration {
        jittered(self.wait(errors), self.jitter, random)
    }

    /// Whether it has no more steps than a job may carry.
    pub(super) fn is_short(&self) -> bool {
        !matches!(&self.shape, StoredShape::Steps(waits) if waits.len() > limits::BACKOFF_STEPS)
    }
}

impl TryFrom<Backoff> for StoredBackoff {
    type Error = Error;

    /// # Errors
    /// `InvalidInput` where the waits come from a function, or one is longer than ten years.
    fn try_from(backoff: Backoff) -> Result<Self, Error> {
        let span = |wait: Duration| {
            super::check_span("backoff", Some(wait))?;
            // Ten years fit: a `u64` of nanoseconds holds 584 years.
            Ok::<_, Error>(u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX))
        };
        let shape = match backoff.shape {
            Shape::Linear { step, max } => StoredShape::Linear(span(step)?, span(max)?),
            Shape::Exponential { first, max } => StoredShape::Exponential(span(first)?, span(max)?),
            Shape::Steps(waits) => {
                let waits = waits.iter().map(|wait| span(*wait));
                StoredShape::Steps(waits.collect::<Result<_, _>>()?)
            }
            Shape::Custom(_) => {
                return Err(Error::invalid(
                    "a `backoff` that is a function can't be stored with a job: say it in \
                     `#[job(backoff = …)]`, or use `Backoff::steps`",
                ));
            }
        };
        Ok(Self {
            shape,
            jitter: backoff.jitter,
        })
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

    #[test]
    fn what_is_stored_waits_as_long_as_what_was_given() {
        let s = Duration::from_secs;
        static STEPS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(10)];
        let check = |backoff: Backoff, json: &str| {
            let stored = StoredBackoff::try_from(backoff).expect("no function");
            assert_eq!(serde_json::to_string(&stored).expect("JSON"), json);
            let back: StoredBackoff = serde_json::from_str(json).expect(json);
            assert_eq!(back, stored);
            for errors in [1, 2, 3, 40, u32::MAX] {
                assert_eq!(back.wait(errors), backoff.wait(errors), "{backoff:?}");
                assert_eq!(back.jittered(errors, 0.2), backoff.jittered(errors, 0.2));
            }
        };
        check(
            Backoff::linear(s(2), s(5)),
            r#"{"linear":[2000000000,5000000000]}"#,
        );
        check(
            Backoff::exponential(s(1), s(60)).without_jitter(),
            r#"{"exponential":[1000000000,60000000000],"jitter":false}"#,
        );
        check(
            Backoff::steps(&STEPS),
            r#"{"steps":[1000000000,10000000000]}"#,
        );
        for json in [
            r#"{}"#,
            r#"{"linear":[1,2],"steps":[]}"#,
            r#"{"linear":[1,2],"newer":1}"#,
        ] {
            assert!(
                serde_json::from_str::<StoredBackoff>(json).is_err(),
                "{json}"
            );
        }
        let refused = |backoff: Backoff| {
            StoredBackoff::try_from(backoff)
                .expect_err("refused")
                .to_string()
        };
        assert!(refused(Backoff::custom(|_| Duration::ZERO)).contains("`backoff`"));
        assert!(refused(Backoff::constant(Duration::MAX)).contains("ten years"));
    }
}
