//! The safety rules S2 to S7, as a check of one change of one job.

mod cause;

use crate::{
    Job, Timestamp,
    job::{
        End, Phase, State, Token,
        transition::{self, Operation},
    },
    store::Finished,
};

pub(super) use cause::Cause;

/// A job as it was when it was last looked at, and what its past counts.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) job: Job,
    /// The grants of this epoch, and how many of them cost nothing.
    starts: u32,
    free: u32,
}

impl Known {
    fn new(job: Job) -> Self {
        Self {
            job,
            starts: 0,
            free: 0,
        }
    }
}

/// Checks a change. Returns what is known of the job afterwards.
pub(super) fn change(
    known: Option<Known>,
    job: Option<Job>,
    cause: &Cause,
    now: Timestamp,
) -> Result<Option<Known>, String> {
    match (known, job) {
        (None, None) => Ok(None),
        (None, Some(job)) => match (cause, job.state()) {
            (Cause::Create, State::Ready) => Ok(Some(Known::new(job))),
            (_, state) => Err(format!("a job is {state} that nobody had created")),
        },
        (Some(known), None) => gone(&known, cause, now).map(|()| None),
        (Some(known), Some(job)) => went_on(known, job, cause, now).map(Some),
    }
}

/// S1: only a job that has ended may be removed.
fn gone(known: &Known, cause: &Cause, now: Timestamp) -> Result<(), String> {
    match cause {
        Cause::Purge if transition::is_purgeable(&known.job, now) => Ok(()),
        Cause::Operate(Operation::Delete) if known.job.state().is_terminal() => Ok(()),
        // A job without retention is removed in the step that ends it.
        _ if !known.job.spec.retain.is_zero() => {
            Err(format!("S1: it went while it was {}", known.job.state()))
        }
        Cause::Finish(ending, _) => check_holder(&known.job, ending.token),
        Cause::Sweep if too_late(&known.job, now) => Ok(()),
        Cause::Sweep => check_revoked(&known.job, now),
        Cause::Operate(Operation::Cancel) if known.job.state() == State::Ready => Ok(()),
        _ => Err(format!("S1: it went while it was {}", known.job.state())),
    }
}

fn went_on(mut known: Known, job: Job, cause: &Cause, now: Timestamp) -> Result<Known, String> {
    use State::{Ready, Running};
    match (known.job.state(), job.state()) {
        (Ready, Ready) if job.fence == known.job.fence => {}
        (Ready, Running) => start(&mut known, &job, cause, now)?,
        (Ready, State::Dead) if matches!(cause, Cause::Sweep) && too_late(&known.job, now) => {}
        (Ready, State::Cancelled) if matches!(cause, Cause::Operate(Operation::Cancel)) => {}
        (Running, Running) => {
            if holder(&known.job) != holder(&job) {
                return Err("S5: a grant was taken over by another".to_owned());
            }
        }
        (Running, _) => end(&mut known, &job, cause, now)?,
        (before, Ready) if before.is_terminal() && is_requeued(&known.job, &job, cause) => {
            (known.starts, known.free) = (0, 0);
        }
        (before, _) if before.is_terminal() && known.job.phase == job.phase => {}
        (before, after) => return Err(format!("S2: from {before} to {after}")),
    }
    known.job = job;
    Ok(known)
}

/// S6 and S7. The grant also needs the token of its claim and a greater fence.
fn start(known: &mut Known, job: &Job, cause: &Cause, now: Timestamp) -> Result<(), String> {
    let (Cause::Claim(token), Phase::Running(hold)) = (cause, &job.phase) else {
        return Err("it runs though nobody claimed it".to_owned());
    };
    if hold.token != *token {
        return Err("S5: it is held by another token than it was claimed with".to_owned());
    }
    if job.fence <= known.job.fence {
        return Err(format!(
            "its fence went from {} to {}",
            known.job.fence, job.fence
        ));
    }
    if known.job.due_at > now {
        return Err(format!(
            "S7: it starts at {now} and is due at {}",
            known.job.due_at
        ));
    }
    known.starts += 1;
    let most = job.spec.max_attempts + job.spec.max_crashes - 1 + known.free;
    if known.starts > most {
        return Err(format!("S6: start {} of at most {most}", known.starts));
    }
    Ok(())
}

/// A grant ends by its holder, or by the sweeper once the lease has run out.
fn end(known: &mut Known, job: &Job, cause: &Cause, now: Timestamp) -> Result<(), String> {
    match cause {
        Cause::Finish(ending, Finished::Applied(_)) => {
            check_holder(&known.job, ending.token)?;
            if matches!(ending.end, End::Release | End::Snooze(_)) {
                known.free += 1;
            }
            check_end(&known.job, job, &ending.end)
        }
        Cause::Sweep if job.crashes == known.job.crashes + 1 => check_revoked(&known.job, now),
        _ => Err("S5: its grant ended, and not by its holder".to_owned()),
    }
}

/// The job's state must fit what its holder said. A success that leaves the job alive could become
/// a second success (S3); an error that is not counted would break the limit (S6).
fn check_end(before: &Job, after: &Job, end: &End) -> Result<(), String> {
    let counted = after.errors - before.errors;
    let (rule, fits) = match (end, after.state()) {
        (_, State::Cancelled) => ("S2", is_asked_to_end(before)),
        (End::Success(_), state) => ("S3", state == State::Succeeded),
        (End::Error { .. }, State::Dead) => ("S6", counted == 1),
        (End::Error { .. }, State::Ready) => (
            "S6",
            counted == 1 && after.errors < before.spec.max_attempts,
        ),
        (End::Release | End::Snooze(_), State::Ready) => ("S2", counted == 0),
        _ => ("S2", false),
    };
    if fits {
        return Ok(());
    }
    let said = match end {
        End::Success(_) => "a success",
        End::Error { .. } => "an error",
        End::Release => "a release",
        End::Snooze(_) => "a snooze",
    };
    let state = after.state();
    Err(format!(
        "{rule}: after {said} it is {state}, with {counted} errors more"
    ))
}

/// A job is revoked only after its lease has run out.
fn check_revoked(job: &Job, now: Timestamp) -> Result<(), String> {
    match &job.phase {
        Phase::Running(hold) if hold.lease_until < now => Ok(()),
        Phase::Running(_) => Err("it was revoked though its lease held".to_owned()),
        Phase::Ready { .. } | Phase::Ended(_) => Err("S2: it ended before its time".to_owned()),
    }
}

/// Whether the job has waited longer than it may.
fn too_late(job: &Job, now: Timestamp) -> bool {
    let limits = [job.expires_at, job.deadline_at];
    limits.into_iter().flatten().any(|limit| limit <= now)
}

fn is_requeued(before: &Job, after: &Job, cause: &Cause) -> bool {
    matches!(cause, Cause::Operate(Operation::Requeue(_))) && after.epoch == before.epoch + 1
}

fn is_asked_to_end(job: &Job) -> bool {
    matches!(&job.phase, Phase::Running(hold) if hold.cancel)
}

fn check_holder(job: &Job, token: Token) -> Result<(), String> {
    if holder(job) == Some(token) {
        return Ok(());
    }
    Err("S5: an end was recorded for a token that does not hold it".to_owned())
}

/// The token of the job's current grant.
pub(super) fn holder(job: &Job) -> Option<Token> {
    match &job.phase {
        Phase::Running(hold) => Some(hold.token),
        Phase::Ready { .. } | Phase::Ended(_) => None,
    }
}

#[cfg(test)]
mod tests;
