//! What is said of an attempt's end, and of deaths.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use super::core::Core;
use crate::{
    CancelReason,
    events::{DeadJob, Event, Fate, Span, Verdict},
    extract::Held,
    job::{DeadReason, End, Failure, Retry, State, limits},
    store::Finished,
};

impl Core {
    /// The same end, but a job that was started so often does not run again at once.
    pub(super) fn slowed(&self, held: &Held, mut end: End) -> End {
        if held.job.fence <= limits::QUICK_STARTS {
            return end;
        }
        let wait = match &mut end {
            End::Snooze(wait) => wait,
            End::Error {
                retry: Retry::After(wait),
                ..
            } if held.job.errors + 1 < held.job.spec.max_attempts => wait,
            _ => return end,
        };
        if *wait < limits::FLOOR {
            *wait = limits::FLOOR;
            self.tally.slowed.fetch_add(1, Relaxed);
            let first = self.slow_names().insert(Arc::clone(&held.job.spec.name));
            let job = &held.job;
            self.events.emit(Event::Slowed { job, first });
        }
        end
    }

    /// Says how an attempt ended. `None`: nobody is to hear of it, as the lease is lost.
    pub(super) fn tell_end(&self, held: &Held, end: Option<&End>, ran: Duration, span: &Span) {
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
        self.events.emit_end(span, event);
    }

    /// An end of an attempt was recorded: tells of the death, if it was one.
    pub(super) fn tell_death(&self, held: &Held, end: &End, answer: Finished) {
        if let (Finished::Applied(State::Dead), End::Error { failure, retry }) = (answer, end) {
            let reason = match retry {
                Retry::Never(reason) => *reason,
                Retry::After(_) => out_of_time_or_attempts(held),
            };
            let dead = DeadJob::failed(&held.job, reason, failure);
            self.deaths
                .tell(&self.events, dead, held.was_death_foretold());
        }
    }
}

/// Why a job is dead that would have been tried again.
fn out_of_time_or_attempts(held: &Held) -> DeadReason {
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

/// What the store will make of an end, as `transition::finish` does.
fn fate(held: &Held, end: Option<&End>) -> Fate {
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

fn after_error(held: &Held, wait: Duration) -> Fate {
    let job = &held.job;
    // The store's time, as far as it is known here.
    let due_at = job.claimed_at + held.claimed.elapsed() + wait;
    if job.errors + 1 >= job.spec.max_attempts {
        Fate::Dead(DeadReason::Errors)
    } else if job.deadline_at.is_some_and(|limit| limit <= due_at) {
        Fate::Dead(DeadReason::Deadline)
    } else {
        Fate::RetryIn(wait)
    }
}
