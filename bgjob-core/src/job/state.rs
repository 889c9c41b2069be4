//! Where a job stands: [`Phase`] with its data, [`State`] without.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Json, Owner, Token};
use crate::Timestamp;

/// Where a job stands, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Waiting for its due time (scheduled, retrying) or for a slot.
    Ready,
    /// Held by a dispatcher.
    Running,
    /// Ended well.
    Succeeded,
    /// Ended by errors or crashes, or too late; kept for someone to look at.
    #[doc(alias = "dead_letter")]
    #[doc(alias = "failed")]
    #[doc(alias = "discarded")]
    Dead,
    /// Ended by request.
    Cancelled,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Ready,
        Self::Running,
        Self::Succeeded,
        Self::Dead,
        Self::Cancelled,
    ];

    /// Whether the job is over. Only an operator's requeue leaves such a state.
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Dead | Self::Cancelled)
    }

    /// Its name in lower case, as it is stored and printed.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Dead => "dead",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Where a job stands, with the data that exists only there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Phase {
    /// Waits until it is due and someone claims it.
    Ready {
        /// When the sweeper hints at it next, where a queue is configured.
        touch_at: Timestamp,
    },
    /// Held under a lease.
    Running(Hold),
    /// Over.
    Ended(Ended),
}

/// A grant's hold on a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hold {
    /// A caller that presents this token may renew and finish the job.
    pub token: Token,
    /// The process start that holds it.
    pub owner: Owner,
    /// When it was claimed.
    pub since: Timestamp,
    /// When the sweeper may revoke it.
    pub lease_until: Timestamp,
    /// Someone asked for the job's end. The holder is notified within a second where the store
    /// wakes, otherwise at its next renewal.
    pub cancel: bool,
}

/// How and when a job ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ended {
    /// How.
    pub how: How,
    /// When.
    pub at: Timestamp,
    /// When it may be purged.
    pub purge_at: Timestamp,
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// With this result.
    Succeeded(Json),
    /// For this reason.
    Dead(DeadReason),
    /// By request.
    Cancelled,
}

/// Why a job is dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DeadReason {
    /// It had as many errors as `max_attempts` allows.
    Errors,
    /// Its process crashed as often as `max_crashes` allows.
    Crashes,
    /// The handler said that trying again is of no use, or its result can't be stored.
    Aborted,
    /// Its metadata could not be decoded or upgraded.
    Decode,
    /// It had not started within `expires`.
    Expired,
    /// It had not ended within `deadline`.
    Deadline,
}

impl DeadReason {
    /// Its name in lower case, as it is stored and printed.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Errors => "errors",
            Self::Crashes => "crashes",
            Self::Aborted => "aborted",
            Self::Decode => "decode",
            Self::Expired => "expired",
            Self::Deadline => "deadline",
        }
    }
}

impl fmt::Display for DeadReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Phase {
    /// The phase in one word.
    pub const fn state(&self) -> State {
        match self {
            Self::Ready { .. } => State::Ready,
            Self::Running(_) => State::Running,
            Self::Ended(end) => match end.how {
                How::Succeeded(_) => State::Succeeded,
                How::Dead(_) => State::Dead,
                How::Cancelled => State::Cancelled,
            },
        }
    }
}
