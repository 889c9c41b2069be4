//! What handlers return: [`IntoOutcome`] maps each of their return types to one [`Outcome`].

use std::{error::Error as StdError, fmt, time::Duration};

use serde::Serialize;

use super::{DeadReason, Failure, FailureKind, Json, limits};
use crate::BoxError;

/// How an attempt ended, in the handler's words.
///
/// ```
/// use bgjob::Outcome;
/// use std::time::Duration;
///
/// async fn poll_invoice(paid: bool) -> Outcome<&'static str> {
///     if paid { Outcome::Success("paid") } else { Outcome::Snooze(Duration::from_secs(60)) }
/// }
/// # drop(poll_invoice(true));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome<T = ()> {
    /// It worked.
    Success(T),
    /// It failed: try again, after the job's backoff or after this time, if the budget allows.
    Retry {
        /// What went wrong.
        failure: Failure,
        /// How long to wait, in place of the backoff.
        after: Option<Duration>,
    },
    /// It failed, and trying again is of no use: Dead.
    Abort {
        /// What went wrong.
        failure: Failure,
        /// `Aborted`, or `Decode` where the metadata can't be read.
        reason: DeadReason,
    },
    /// Not yet: run it again after this time. No attempt is spent.
    Snooze(Duration),
}

/// Tells the dispatcher what to do about an error. Return it as the `E` of a `Result`, or wrap it
/// in other errors: it is found anywhere in the chain of causes, also behind `anyhow`, `eyre`,
/// `thiserror`, [`std::io::Error::other`] and boxes. If there are several, the outermost counts.
///
/// ```
/// use bgjob::JobError;
/// use std::time::Duration;
///
/// async fn charge(card: &str) -> Result<(), JobError> {
///     match card {
///         "stolen" => Err(JobError::abort("the card is stolen")),
///         "busy" => Err(JobError::retry_in(Duration::from_secs(30), "the bank is busy")),
///         _ => Ok(()),
///     }
/// }
/// # drop(charge("ok"));
/// ```
///
/// A handler that meets errors of many kinds can return [`BoxError`]: `?` converts all of them into
/// it, a `JobError` too. (`anyhow::Error` and `eyre::Report` work as well.)
///
/// ```
/// use bgjob::{BoxError, JobError};
///
/// async fn parse(text: &str) -> Result<u32, BoxError> {
///     if text.is_empty() {
///         return Err(JobError::abort("there is no text").into());
///     }
///     Ok(text.parse()?)
/// }
/// # drop(parse("7"));
/// ```
pub struct JobError(Said);

/// What a [`JobError`] says. It is a link of its own in the chain of causes, because a transparent
/// wrapper shows the causes of the error it wraps, but not that error itself.
struct Said {
    verdict: Verdict,
    error: BoxError,
}

#[derive(Debug, Clone, Copy)]
enum Verdict {
    Retry(Option<Duration>),
    Abort,
    Snooze(Duration),
}

impl JobError {
    /// Try again after the job's backoff, as after any other error.
    pub fn retry(error: impl Into<BoxError>) -> Self {
        Self::new(Verdict::Retry(None), error)
    }

    /// Try again after this time instead of the job's backoff.
    pub fn retry_in(after: Duration, error: impl Into<BoxError>) -> Self {
        Self::new(Verdict::Retry(Some(after)), error)
    }

    /// Don't try again: Dead at once.
    #[doc(alias = "discard")]
    pub fn abort(error: impl Into<BoxError>) -> Self {
        Self::new(Verdict::Abort, error)
    }

    /// Not an error: run it again after this time. No attempt is spent.
    pub fn snooze(after: Duration) -> Self {
        Self::new(Verdict::Snooze(after), "snoozed")
    }

    fn new(verdict: Verdict, error: impl Into<BoxError>) -> Self {
        let error = error.into();
        Self(Said { verdict, error })
    }

    /// For an error that `?` converts: if it wraps a `JobError`, that verdict is kept.
    fn of(error: impl Into<BoxError>) -> Self {
        let error = error.into();
        let verdict = Verdict::of(error.as_ref());
        Self::new(verdict.unwrap_or(Verdict::Retry(None)), error)
    }
}

impl Verdict {
    /// How many links of a chain are looked at. There is a limit because an error may be its own
    /// cause.
    const DEEP: usize = 1000;

    /// What the outermost [`JobError`] of a chain says.
    fn of(error: &(dyn StdError + 'static)) -> Option<Self> {
        let chain = std::iter::successors(Some(error), |&e| e.source());
        chain.take(Self::DEEP).find_map(|e| {
            let said = e.downcast_ref::<Said>();
            let said = said.or_else(|| e.downcast_ref().map(|JobError(said)| said));
            said.map(|said| said.verdict)
        })
    }
}

/// Whether this link of a chain carries only a verdict.
pub(super) fn is_verdict(error: &(dyn StdError + 'static)) -> bool {
    error.is::<Said>()
}

impl fmt::Display for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.error.fmt(f)
    }
}

impl fmt::Debug for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.0.verdict, self.0.error)
    }
}

impl StdError for JobError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.0)
    }
}

/// Shown where a whole chain is printed. Stored failures leave it out.
impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.verdict {
            Verdict::Retry(None) => f.write_str("the job is to be tried again"),
            Verdict::Retry(Some(after)) => write!(f, "the job is to be tried again in {after:?}"),
            Verdict::Abort => f.write_str("the job is not to be tried again"),
            Verdict::Snooze(after) => write!(f, "the job is to be run again in {after:?}"),
        }
    }
}

impl fmt::Debug for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl StdError for Said {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.error.source()
    }
}

/// Errors that `?` converts into a [`JobError`]. One that wraps a `JobError` keeps its verdict; any
/// other means that the job is tried again.
macro_rules! from {
    ($($error:ty,)*) => {$(
        impl From<$error> for JobError {
            fn from(error: $error) -> Self {
                Self::of(error)
            }
        }
    )*};
}

from! {
    BoxError,
    crate::Error,
    std::io::Error,
    std::fmt::Error,
    std::num::ParseIntError,
    std::num::ParseFloatError,
    std::num::TryFromIntError,
    std::str::Utf8Error,
    std::string::FromUtf8Error,
    std::time::SystemTimeError,
    std::env::VarError,
    serde_json::Error,
    tokio::task::JoinError,
    tokio::time::error::Elapsed,
    String,
    &'static str,
}

#[cfg(feature = "sqlx-0_9")]
from! { sqlx::Error, }

/// What a `#[job]` function may return: `()`, [`Outcome<T>`], or `Result<T, E>` with a `T` that
/// serializes and an `E` that converts into a boxed error.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be the result of a `#[job]` function",
    label = "not a job's result",
    note = "return `()`, `Outcome<T>`, or `Result<T, E>` where `T: Serialize` and \
            `E: Into<Box<dyn Error + Send + Sync>>`"
)]
pub trait IntoOutcome {
    /// The type of the job's result.
    type Output: Serialize;

    /// Says how the attempt ended.
    fn into_outcome(self) -> Outcome<Self::Output>;
}

impl IntoOutcome for () {
    type Output = ();

    fn into_outcome(self) -> Outcome {
        Outcome::Success(())
    }
}

impl<T: Serialize> IntoOutcome for Outcome<T> {
    type Output = T;

    fn into_outcome(self) -> Self {
        self
    }
}

impl<T: Serialize, E: Into<BoxError>> IntoOutcome for Result<T, E> {
    type Output = T;

    fn into_outcome(self) -> Outcome<T> {
        match self {
            Ok(value) => Outcome::Success(value),
            Err(error) => Outcome::from_error(error.into().as_ref()),
        }
    }
}

impl<T> Outcome<T> {
    /// What an error means: what the [`JobError`] in its chain says, or else to try again.
    pub fn from_error(error: &(dyn StdError + 'static)) -> Self {
        let failure = Failure::from_error(FailureKind::Error, error);
        match Verdict::of(error) {
            None | Some(Verdict::Retry(None)) => Self::Retry {
                failure,
                after: None,
            },
            Some(Verdict::Retry(after)) => Self::Retry { failure, after },
            Some(Verdict::Abort) => Self::Abort {
                failure,
                reason: DeadReason::Aborted,
            },
            Some(Verdict::Snooze(after)) => Self::Snooze(after),
        }
    }
}

impl<T: Serialize> Outcome<T> {
    /// The same outcome with its result encoded. A result that can't be stored makes the job Dead:
    /// another attempt would only have the same effects again.
    pub fn encode(self) -> Outcome<Json> {
        match self {
            Self::Success(value) => match Json::encode(&value) {
                Ok(json) => match too_large(&json) {
                    None => Outcome::Success(json),
                    Some(failure) => not_stored(failure),
                },
                Err(error) => not_stored(Failure::from_error(FailureKind::Result, &error)),
            },
            Self::Retry { failure, after } => Outcome::Retry { failure, after },
            Self::Abort { failure, reason } => Outcome::Abort { failure, reason },
            Self::Snooze(after) => Outcome::Snooze(after),
        }
    }
}

fn not_stored(failure: Failure) -> Outcome<Json> {
    Outcome::Abort {
        failure,
        reason: DeadReason::Aborted,
    }
}

/// The failure for a result that is larger than any that is stored.
pub(super) fn too_large(result: &Json) -> Option<Failure> {
    let (size, max) = (result.len(), limits::RESULT);
    (size > max).then(|| {
        let text = format!(
            "the result is {size} bytes, more than the {max} allowed: store it elsewhere and \
             return its key"
        );
        Failure::new(FailureKind::Result, text)
    })
}

#[cfg(test)]
mod tests;
