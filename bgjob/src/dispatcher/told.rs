//! Emits the events of an attempt's end and of deaths.

use std::time::Duration;

use super::core::Core;
use crate::{
    CancelReason,
    events::{DeadJob, Event, Fate, Span, Verdict},
    extract::HeldJob,
    job::{DeadReason, End, Failure, Retry, State},
    store::Finished,
};

/// Emits how an attempt ended. `None`: the end is not recorded, because the lease is lost.
pub(super) fn tell_end(core: &Core, held: &HeldJob, end: Option<&End>, ran: Duration, span: &Span) {
    let fate = fate(held, end);
    if let Fate::Dead(_) = fate {
        held.foretell_death();
    }
    let event = Event::AttemptEnded {
        job: &held.job,
        verdict: verdict(end),
        failure: failure(end),
        fate,
        ran,
    };
    core.events.emit_end(span, event);
}

/// Reports the death of the job, if the recorded end of its attempt was one.
pub(super) fn tell_death(core: &Core, held: &HeldJob, end: &End, answer: Finished) {
    if let (Finished::Applied(State::Dead), End::Error { failure, retry }) = (answer, end) {
        let reason = match retry {
            Retry::Never(reason) => *reason,
            Retry::After(_) => out_of_time_or_attempts(held),
        };
        let dead = DeadJob::failed(&held.job, reason, failure);
        core.deaths
            .tell(&core.events, dead, held.was_death_foretold());
    }
}

/// Why a job died although its end asked for a retry.
fn out_of_time_or_attempts(held: &HeldJob) -> DeadReason {
    if held.job.errors + 1 >= held.job.spec.max_attempts {
        DeadReason::Errors
    } else {
        DeadReason::Deadline
    }
}

fn verdict(end: Option<&End>) -> Verdict {
    match end {
        None => Verdict::Abandoned,
        Some(End::Success(_)) => Verdict::Success,
        Some(End::Release) => Verdict::Release,
        Some(End::Snooze(_)) => Verdict::Snooze,
        Some(End::Error {
            retry: Retry::Never(reason),
            ..
        }) => Verdict::Abort(*reason),
        Some(End::Error { failure, .. }) => Verdict::Error(failure.kind),
    }
}

fn failure(end: Option<&End>) -> Option<&Failure> {
    match end {
        Some(End::Error { failure, .. }) => Some(failure),
        _ => None,
    }
}

/// What the store will make of an end, predicted as `transition::finish` decides it.
fn fate(held: &HeldJob, end: Option<&End>) -> Fate {
    let cancelled = held.reason() == Some(CancelReason::User);
    match end {
        None => Fate::Unknown,
        Some(End::Success(_)) => Fate::Done,
        Some(_) if cancelled => Fate::Cancelled,
        Some(End::Release) => Fate::GivenBack,
        Some(End::Snooze(wait)) => Fate::SnoozedFor(*wait),
        Some(End::Error { retry, .. }) => match *retry {
            Retry::Never(reason) => Fate::Dead(reason),
            Retry::After(wait) => after_error(held, wait),
        },
    }
}

fn after_error(held: &HeldJob, wait: Duration) -> Fate {
    let job = &held.job;
    // In the store's time, as far as this process can estimate it.
    let due_at = job.claimed_at + held.claimed.elapsed() + wait;
    if job.errors + 1 >= job.spec.max_attempts {
        Fate::Dead(DeadReason::Errors)
    } else if job.deadline_at.is_some_and(|limit| limit <= due_at) {
        Fate::Dead(DeadReason::Deadline)
    } else {
        Fate::RetryIn(wait)
    }
}
