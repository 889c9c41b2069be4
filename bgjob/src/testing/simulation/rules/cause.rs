//! [`Cause`]: the call that changed a job.

use std::{fmt, time::Duration};

use super::too_late;
use crate::{
    Job, Timestamp,
    job::{
        Due, End, Failure, FailureKind, How, Json, Phase, Retry, State, Token,
        transition::Operation,
    },
    store::{Ending, Finished},
};

/// The call that made a change.
#[derive(Debug)]
pub(in crate::testing::simulation) enum Cause {
    Create,
    Claim(Token),
    Finish(Ending, Finished),
    Renew,
    Sweep,
    Operate(Operation),
    Purge,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Create => "create",
            Self::Claim(_) => "claim",
            Self::Finish(..) => "finish",
            Self::Renew => "renew",
            Self::Sweep => "sweep",
            Self::Operate(_) => "operate",
            Self::Purge => "purge",
        })
    }
}

impl Cause {
    /// Infers the call from the change of the job, because a write of a document does not say what
    /// it is for.
    pub(in crate::testing::simulation) fn told_by(
        before: Option<&Job>,
        after: Option<&Job>,
        now: Timestamp,
    ) -> Self {
        let Some(before) = before else {
            return Self::Create;
        };
        let Some(after) = after else {
            return Self::told_by_the_end(before, now);
        };
        match (&before.phase, &after.phase) {
            (Phase::Running(_), Phase::Running(_)) => Self::Renew,
            (Phase::Running(_), _) if after.crashes > before.crashes => Self::Sweep,
            (Phase::Running(hold), _) => {
                let ending = Ending::new(before.id, hold.token, end(before, after));
                Self::Finish(ending, Finished::Applied(after.state()))
            }
            (_, Phase::Running(hold)) => Self::Claim(hold.token),
            (Phase::Ready { .. }, Phase::Ended(end)) if end.how == How::Cancelled => {
                Self::Operate(Operation::Cancel)
            }
            (Phase::Ready { .. }, Phase::Ended(_)) => Self::Sweep,
            (Phase::Ended(_), Phase::Ready { .. }) => Self::Operate(Operation::Requeue(Due::Now)),
            _ => Self::Renew,
        }
    }

    /// Infers the call that removed a job.
    fn told_by_the_end(before: &Job, now: Timestamp) -> Self {
        match &before.phase {
            Phase::Ended(_) => Self::Operate(Operation::Delete),
            Phase::Running(hold) => {
                let ending = Ending::new(before.id, hold.token, End::Release);
                Self::Finish(ending, Finished::Applied(State::Succeeded))
            }
            Phase::Ready { .. } if too_late(before, now) => Self::Sweep,
            Phase::Ready { .. } => Self::Operate(Operation::Cancel),
        }
    }
}

/// Infers how an attempt ended.
fn end(before: &Job, after: &Job) -> End {
    match after.state() {
        State::Succeeded => End::Success(Json::null()),
        _ if after.errors == before.errors => End::Release,
        _ => End::Error {
            failure: Failure::new(FailureKind::Error, "it failed"),
            retry: Retry::After(Duration::ZERO),
        },
    }
}
