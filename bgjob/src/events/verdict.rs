//! The vocabulary of events: how a job was found, how an attempt ended, and what becomes of it.

use std::{fmt, time::Duration};

use super::words::Words;
use crate::job::{DeadReason, FailureKind};

/// How a job was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Via {
    /// The store found it ready.
    Store,
    /// A hint of the queue led to it.
    Hint,
}

impl Via {
    /// The word in lower case, as it is printed.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::Hint => "hint",
        }
    }
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How an attempt ended, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Verdict {
    /// With success.
    Success,
    /// In an error of this kind.
    Error(FailureKind),
    /// In an error that ends the job, for this reason.
    Abort(DeadReason),
    /// The handler asked to run again later.
    Snooze,
    /// The job was given back.
    Release,
    /// The lease was lost: the end is not recorded.
    Abandoned,
}

impl Verdict {
    /// Whether the attempt ended in an error, or its lease was lost.
    pub const fn is_error(self) -> bool {
        matches!(self, Self::Error(_) | Self::Abort(_) | Self::Abandoned)
    }

    /// The verdict in lower case, as it is printed.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Error(_) => "error",
            Self::Abort(_) => "abort",
            Self::Snooze => "snooze",
            Self::Release => "release",
            Self::Abandoned => "abandoned",
        }
    }
}

/// The word, and for errors the kind or the reason.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Error(kind) => write!(f, "error ({})", kind.as_str()),
            Self::Abort(reason) => write!(f, "abort ({reason})"),
            _ => f.pad(self.as_str()),
        }
    }
}

/// What becomes of a job after an attempt, as far as its worker knows. The store decides in the
/// end; see [`Event::Recorded`](super::Event::Recorded).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fate {
    /// It has succeeded.
    Done,
    /// It is tried again after this time.
    RetryIn(Duration),
    /// It is dead, for this reason.
    Dead(DeadReason),
    /// It runs again after this time, as it asked to.
    SnoozedFor(Duration),
    /// A user cancelled it, and it has ended.
    Cancelled,
    /// It was given back and is ready at once.
    GivenBack,
    /// The lease was lost: another worker decides.
    Unknown,
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("done"),
            Self::RetryIn(wait) => write!(f, "retry in {}", Words(*wait)),
            Self::Dead(reason) => write!(f, "dead ({reason})"),
            Self::SnoozedFor(wait) => write!(f, "snoozed for {}", Words(*wait)),
            Self::Cancelled => f.write_str("cancelled"),
            Self::GivenBack => f.write_str("given back"),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}

/// A service that a dispatcher or manager calls and that can be down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Part {
    /// The document store.
    Store,
    /// The queue service.
    Queue,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Store => "store",
            Self::Queue => "queue",
        })
    }
}
