//! How an attempt ended: [`End`] goes to the store, [`Attempt`] stays in the job's history.

use std::{error::Error as StdError, fmt, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    DeadReason, Json, Owner, limits,
    outcome::{is_verdict, too_large},
};
use crate::Timestamp;

/// How an attempt ended, as its holder reports it to the store.
#[derive(Debug, Clone, PartialEq)]
pub enum End {
    /// It ended well, with this result.
    Success(Json),
    /// It ended in an error.
    Error {
        /// What went wrong.
        failure: Failure,
        /// Whether and when to try again.
        retry: Retry,
    },
    /// It was given back untouched (at shutdown): ready at once, nothing counted.
    Release,
    /// The handler asked to be run again later: nothing counted.
    Snooze(Duration),
}

impl End {
    /// A success with this result, or an error where the result is too large to store: a
    /// middleware, say, may have replaced the result without checking its size.
    #[doc(hidden)]
    pub fn success(result: Json) -> Self {
        match too_large(&result) {
            None => Self::Success(result),
            Some(failure) => Self::Error {
                failure,
                retry: Retry::Never(DeadReason::Aborted),
            },
        }
    }

    /// Its size in bytes, as counted against the limit of a batch.
    #[doc(hidden)]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Success(result) => result.len(),
            Self::Error { failure, .. } => failure.messages.iter().map(String::len).sum(),
            Self::Release | Self::Snooze(_) => 0,
        }
    }
}

/// Whether and when to try again after an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// After this time, if the budget allows.
    After(Duration),
    /// Never: Dead, for this reason.
    Never(super::DeadReason),
}

/// What kind of error ended an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FailureKind {
    /// The handler returned an error.
    Error,
    /// The handler panicked.
    Panic,
    /// The attempt took longer than its `timeout`.
    Timeout,
    /// The metadata could not be decoded or upgraded.
    Decode,
    /// An extractor failed.
    Extract,
    /// The result was refused: too large, or not JSON (NaN, say). The job is Dead at once.
    Result,
}

impl FailureKind {
    /// Its name in lower case, as it is stored and printed.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Panic => "panic",
            Self::Timeout => "timeout",
            Self::Decode => "decode",
            Self::Extract => "extract",
            Self::Result => "result",
        }
    }
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What went wrong, bounded: the error's own text first, then its causes.
///
/// It is kept in the job's history (30 days if the job is dead) and shown to anyone who looks at
/// the job. The texts are the handler's own: a card number in an error or a panic message is stored
/// too.
///
/// ```
/// use bgjob::job::{Failure, FailureKind};
///
/// let messages = vec!["the mail was not sent".to_owned(), "connection refused".to_owned()];
/// let failure = Failure { kind: FailureKind::Error, messages };
/// assert_eq!(failure.message(), "the mail was not sent");
/// assert_eq!(failure.to_string(), "the mail was not sent: connection refused");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failure {
    /// What kind of error it was.
    pub kind: FailureKind,
    /// The error and its causes, outermost first.
    pub messages: Vec<String>,
}

impl Failure {
    /// A failure with one message.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        let messages = vec![message.into()];
        Self { kind, messages }.bounded()
    }

    /// The same failure within the limits of what is stored: at most [`limits::ERROR_CHAIN`] texts
    /// and [`limits::ERROR`] bytes in all, with `�` in place of control characters other than line
    /// feeds. Every failure goes through this before it is stored.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        self.messages.truncate(limits::ERROR_CHAIN);
        let mut left = limits::ERROR;
        for message in &mut self.messages {
            *message = clean(std::mem::take(message), &mut left);
        }
        self
    }

    /// A failure from an error and its causes. Long chains and texts are cut
    /// ([`limits::ERROR_CHAIN`], [`limits::ERROR`]), and control characters are replaced.
    pub fn from_error(kind: FailureKind, error: &(dyn StdError + 'static)) -> Self {
        let mut left = limits::ERROR;
        let chain = std::iter::successors(Some(error), |&e| e.source());
        let messages = chain
            .filter(|e| !is_verdict(*e))
            .take(limits::ERROR_CHAIN)
            .map(|e| clean(e.to_string(), &mut left))
            .filter(|text| !text.is_empty())
            .collect();
        Self { kind, messages }
    }

    /// The error's own text.
    pub fn message(&self) -> &str {
        self.messages.first().map_or("", String::as_str)
    }
}

/// The whole chain in one line: the error's own text, then its causes.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.messages.join(": "))
    }
}

/// Replaces control characters and cuts the text to what is `left` of the budget.
pub(super) fn clean(text: String, left: &mut usize) -> String {
    let mut text = if text.chars().any(|c| c.is_control() && c != '\n') {
        let escape = |c: char| {
            if c.is_control() && c != '\n' {
                '\u{fffd}'
            } else {
                c
            }
        };
        text.chars().map(escape).collect()
    } else {
        text
    };
    let end = text.floor_char_boundary((*left).min(text.len()));
    text.truncate(end);
    *left -= end;
    text
}

/// One attempt in a job's history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attempt {
    /// The fence of its grant. It grows from one attempt of a job to the next.
    pub fence: u64,
    /// The process start that ran it.
    pub owner: Owner,
    /// When it was claimed.
    pub claimed_at: Timestamp,
    /// When its end was recorded.
    pub ended_at: Timestamp,
    /// How it ended.
    pub end: AttemptEnd,
}

/// How an attempt in a job's history ended. Successes and releases are not kept there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum AttemptEnd {
    /// It failed with this error.
    Failed(Failure),
    /// Its process stopped renewing the lease.
    Crashed {
        /// The last progress it reported.
        progress: Option<super::Progress>,
    },
}

impl AttemptEnd {
    /// Its size in bytes, as counted against the limit of a batch.
    #[doc(hidden)]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Failed(failure) => failure.messages.iter().map(String::len).sum(),
            Self::Crashed { progress } => {
                let note = progress.as_ref().and_then(|last| last.note.as_ref());
                note.map_or(0, String::len)
            }
        }
    }
}
