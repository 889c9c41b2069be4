//! What handlers return: [`IntoOutcome`] maps it all to one [`Outcome`].

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
    /// It did not: try again, after the job's backoff or after this time, if the budget allows.
    Retry {
        /// What went wrong.
        failure: Failure,
        /// Instead of the backoff.
        after: Option<Duration>,
    },
    /// It did not, and trying again is of no use: Dead.
    Abort {
        /// What went wrong.
        failure: Failure,
        /// `Aborted`, unless it is the metadata that can't be read.
        reason: DeadReason,
    },
    /// Not yet: run it again after this time. No attempt is spent.
    Snooze(Duration),
}

/// The handler's word to the dispatcher about an error. Return it as the `E` of a `Result`, or
/// as the cause of one: it is found anywhere in the chain.
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
pub struct JobError {
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
    /// Try again after the job's backoff: what any other error means too.
    pub fn retry(error: impl Into<BoxError>) -> Self {
        Self {
            verdict: Verdict::Retry(None),
            error: error.into(),
        }
    }

    /// Try again after this time instead of the job's backoff.
    pub fn retry_in(after: Duration, error: impl Into<BoxError>) -> Self {
        Self {
            verdict: Verdict::Retry(Some(after)),
            error: error.into(),
        }
    }

    /// Don't try again: Dead at once.
    pub fn abort(error: impl Into<BoxError>) -> Self {
        Self {
            verdict: Verdict::Abort,
            error: error.into(),
        }
    }

    /// Not an error: run it again after this time. No attempt is spent.
    pub fn snooze(after: Duration) -> Self {
        Self {
            verdict: Verdict::Snooze(after),
            error: "snoozed".into(),
        }
    }
}

impl fmt::Display for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl fmt::Debug for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.verdict, self.error)
    }
}

impl StdError for JobError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.error.source()
    }
}

impl From<crate::Error> for JobError {
    fn from(error: crate::Error) -> Self {
        Self::retry(error)
    }
}

impl From<std::io::Error> for JobError {
    fn from(error: std::io::Error) -> Self {
        Self::retry(error)
    }
}

/// What a `#[job]` function may return: `()`, [`Outcome<T>`], or `Result<T, E>` with a `T` that
/// serializes and an `E` that converts into a boxed error.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be the result of a `#[job]` function",
    label = "not a job's result",
    note = "return `()`, `Outcome<T>`, or `Result<T, E>` where `T: Serialize` and \
            `E: Into<Box<dyn Error + Send + Sync>>`"
)]
pub trait IntoOutcome {
    /// What a result gives back.
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
    /// What an error means: its [`JobError`] says, else try again.
    pub fn from_error(error: &(dyn StdError + 'static)) -> Self {
        let failure = Failure::from_error(FailureKind::Error, error);
        let mut chain =
            std::iter::successors(Some(error), |&e| e.source()).take(limits::ERROR_CHAIN);
        match chain
            .find_map(|e| e.downcast_ref::<JobError>())
            .map(|e| e.verdict)
        {
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
    /// The same with the result encoded. A result that can't be stored is an error.
    pub fn encode(self) -> Outcome<Json> {
        let refused = |text: String| Outcome::Retry {
            failure: Failure::new(FailureKind::Result, text),
            after: None,
        };
        match self {
            Self::Success(value) => match Json::encode(&value) {
                Ok(json) if json.len() <= limits::RESULT => Outcome::Success(json),
                Ok(json) => refused(format!(
                    "the result is {} bytes, more than the {} allowed: store it elsewhere and \
                     return its key",
                    json.len(),
                    limits::RESULT
                )),
                Err(error) => refused(error.to_string()),
            },
            Self::Retry { failure, after } => Outcome::Retry { failure, after },
            Self::Abort { failure, reason } => Outcome::Abort { failure, reason },
            Self::Snooze(after) => Outcome::Snooze(after),
        }
    }
}
