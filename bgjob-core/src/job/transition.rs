//! The one home of the protocol: each function is one atomic transition of one job.
//!
//! A store makes each transition one compare-and-set. A store that keeps typed jobs calls these
//! functions; tests hold a store that says them in its own language (SQL) to the same meaning. A
//! refusal leaves the job as it was.
//!
//! | # | name | from | to | guard | called by |
//! |---|---|---|---|---|---|
//! | T1 | create | – | Ready | the id is absent, the unique key is free | an enqueue |
//! | T2 | claim | Ready | Running | due, not too late, served; a suspect only if wanted | a fetch |
//! | T2′ | the same claim again | Running | Running | held by this token | a repeated fetch |
//! | T3 | renew | Running | Running | held by this token | the lease thread |
//! | T4 | succeed | Running | Succeeded | held by this token | the end of an attempt |
//! | T5 | fail | Running | Ready or Dead¹ | held by this token | the end of an attempt |
//! | T6 | release | Running | Ready¹ | held by this token | a shutdown |
//! | T6 | snooze | Running | Ready¹ | held by this token | the end of an attempt |
//! | T7 | revoke | Running | Ready or Dead¹ | the lease and the margin are over | the sweeper |
//! | T8 | touch | Ready | Ready | due, not hinted at lately | the sweeper, if there is a queue |
//! | T9 | cancel | Ready | Cancelled | none | an operator |
//! | T9 | cancel | Running | Running, flagged | none | an operator |
//! | T10 | requeue | an end | Ready, next epoch | the unique key is free | an operator |
//! | T10 | reschedule | Ready | Ready | none | an operator |
//! | T10 | edit | Ready | Ready | the job still has the `ver` that was read | an operator |
//! | T11 | expire | Ready | Dead | past `expires` or `deadline` | the sweeper |
//! | T12 | purge | an end | gone | `purge_at` is reached | the purge of a dispatcher or manager |
//! | T12 | delete | an end | gone | none | an operator |
//!
//! ¹ Cancelled instead, where T9 (cancel) has flagged the job. T5 (fail) and T7 (revoke) make a job
//! Dead when its budget of errors or crashes is spent; T5 (fail) also when a retry is of no use or
//! would start past the `deadline`. An operator is a caller of the manager.
//!
//! T13 and T14 are reserved for uniqueness (replace, debounce).

use std::{sync::Arc, time::Duration};

use super::{
    Attempt, AttemptEnd, ClaimedJob, DeadReason, Due, End, Ended, Grant, Hold, How, Job, JobSpec,
    Json, NewJob, Phase, Progress, Retry, Serves, State, Token, limits,
};
use crate::Timestamp;

/// The sweeper's rules, the same on every dispatcher.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SweepPolicy {
    /// How long the sweeper waits beyond the lease's end, because clocks may differ.
    pub margin: Duration,
    /// Wait after the first crash, the second, and so on. The last entry stands for all further
    /// crashes; an empty list means no wait.
    pub crash_backoff: Vec<Duration>,
    /// Where a queue is configured: a due job that was not hinted at for this long is hinted at
    /// again, then less and less often. `None` where there is no queue.
    pub touch: Option<Duration>,
}

impl Default for SweepPolicy {
    fn default() -> Self {
        Self {
            margin: Duration::from_secs(1),
            crash_backoff: [5, 60, 600].map(Duration::from_secs).to_vec(),
            touch: None,
        }
    }
}

impl SweepPolicy {
    /// The longest a job waits for its next hint.
    const TOUCH_MAX: Duration = Duration::from_secs(600);
    /// The enqueuer gives a due job's first hint. The sweeper waits this long before it gives one.
    pub const TOUCH: Duration = Duration::from_secs(15);

    /// Waits this long beyond the lease's end.
    #[must_use]
    pub const fn margin(mut self, margin: Duration) -> Self {
        self.margin = margin;
        self
    }

    /// Waits this long after the first crash, the second, and so on.
    #[must_use]
    pub fn crash_backoff(mut self, waits: Vec<Duration>) -> Self {
        self.crash_backoff = waits;
        self
    }

    /// Hints again at what is due and was not hinted at for this long.
    #[must_use]
    pub const fn touch(mut self, touch: Option<Duration>) -> Self {
        self.touch = touch;
        self
    }

    fn wait_after(&self, crashes: u32) -> Duration {
        let nth = (crashes as usize).saturating_sub(1);
        let wait = self.crash_backoff.get(nth).or(self.crash_backoff.last());
        wait.copied().unwrap_or_default()
    }
}

/// Why a claim was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Not due yet, or too late: past `expires` or `deadline`, so the sweeper ends it.
    NotDue,
    /// Held by another grant.
    Busy,
    /// Not served by the claimer, or a suspect where none is wanted.
    NotServed,
    /// The job is over.
    Terminal,
}

/// The answer to an operator's request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operated {
    /// It was done; the job is in this state now.
    Done(State),
    /// There is no such job.
    Missing,
    /// The job is in this state, in which the operation is not allowed.
    Refused(State),
    /// The job was changed meanwhile and now has this `ver`.
    Stale(u64),
    /// Another live job has its unique key.
    KeyTaken(super::JobId),
}

/// What an operator asks of one job.
#[derive(Debug, Clone)]
pub enum Operation {
    /// End the job: at once if it waits, at its next renewal if it runs.
    Cancel,
    /// Run a job that is over once more: a new epoch, with counters at zero.
    Requeue(Due),
    /// Change when a waiting job is due.
    Reschedule(Due),
    /// Replace the metadata of a waiting job, if it still has this `ver`.
    Edit {
        /// The new metadata.
        metadata: Json,
        /// Its version.
        version: u32,
        /// The `ver` that was read.
        ver: u64,
    },
    /// Forget a job that is over.
    Delete,
}

/// T1 (create): the job that a create stores.
pub fn create(new: &NewJob, now: Timestamp) -> Job {
    let due_at = new.due.from(now);
    let mut job = Job {
        id: new.id,
        spec: Arc::clone(&new.spec),
        phase: Phase::Ready {
            touch_at: first_touch(due_at, now),
        },
        ver: 0,
        fence: 0,
        epoch: 0,
        errors: 0,
        crashes: 0,
        created_at: now,
        due_at,
        expires_at: None,
        deadline_at: None,
        progress: None,
        history: Vec::new(),
    };
    set_limits(&mut job);
    job
}

/// T1 (create), repeated: whether a create that finds `existing` under its id is a repeat of the
/// one that made it, and so a success. Only the id and the function decide: maps have no order,
/// types grow, functions get new names, and operators edit.
pub fn is_repeat(existing: &Job, new: &NewJob) -> bool {
    new.is_named(&existing.spec.name)
}

/// T2 (claim) and T2′ (the same claim again): claims a ready job that is due and served, or returns
/// what this token already holds.
///
/// # Errors
/// Why the claim was refused. The job is as it was.
pub fn claim(
    job: &mut Job,
    grant: &Grant,
    serves: &Serves,
    now: Timestamp,
) -> Result<ClaimedJob, Refusal> {
    match &job.phase {
        Phase::Running(hold) if hold.token == grant.token => return Ok(claimed(job, hold)),
        Phase::Running(_) => return Err(Refusal::Busy),
        Phase::Ended(_) => return Err(Refusal::Terminal),
        Phase::Ready { .. } => {}
    }
    if !serves.can_run(&job.spec.name, job.spec.version) || (job.is_suspect() && !serves.suspect) {
        return Err(Refusal::NotServed);
    }
    if job.due_at > now || too_late(job, now).is_some() {
        return Err(Refusal::NotDue);
    }
    job.fence += 1;
    let hold = Hold {
        token: grant.token,
        owner: grant.owner,
        since: now,
        lease_until: now + grant.lease,
        cancel: false,
    };
    let answer = claimed(job, &hold);
    job.phase = Phase::Running(hold);
    Ok(answer)
}

/// T3 (renew): moves the lease on and stores what the handler reported. Returns whether someone
/// asked for the job's end, or `None` if the token no longer holds the job. An expired lease that
/// nobody revoked can be renewed.
pub fn renew(
    job: &mut Job,
    token: Token,
    progress: Option<&Progress>,
    lease: Duration,
    now: Timestamp,
) -> Option<bool> {
    let Phase::Running(hold) = &mut job.phase else {
        return None;
    };
    if hold.token != token {
        return None;
    }
    hold.lease_until = hold.lease_until.max(now + lease);
    if let Some(progress) = progress {
        job.progress = Some(progress.clone().bounded());
    }
    Some(hold.cancel)
}

/// T4 (succeed), T5 (fail), T6 (release or snooze): ends an attempt. Returns the job's new state,
/// or `None` if the token no longer holds the job.
pub fn finish(job: &mut Job, token: Token, end: &End, now: Timestamp) -> Option<State> {
    let Phase::Running(hold) = &job.phase else {
        return None;
    };
    if hold.token != token {
        return None;
    }
    let hold = hold.clone();
    // The job has started, so it can no longer expire.
    job.expires_at = None;
    match end {
        End::Success(result) => conclude(job, How::Succeeded(result.clone()), now),
        End::Error { failure, retry } => {
            job.errors += 1;
            let failure = failure.clone().bounded();
            remember(job, &hold, AttemptEnd::Failed(failure), now);
            match (hold.cancel, after_error(job, *retry, now)) {
                (true, _) => conclude(job, How::Cancelled, now),
                (false, Ok(due_at)) => wait(job, due_at, now),
                (false, Err(reason)) => conclude(job, How::Dead(reason), now),
            }
        }
        End::Release if hold.cancel => conclude(job, How::Cancelled, now),
        End::Release => wait(job, job.due_at.min(now), now),
        End::Snooze(_) if hold.cancel => conclude(job, How::Cancelled, now),
        End::Snooze(delay) => wait(job, now + *delay, now),
    }
    Some(job.state())
}

/// T7 (revoke): takes a job whose lease has run out from its holder. Returns whether it did.
pub fn revoke(job: &mut Job, policy: &SweepPolicy, now: Timestamp) -> bool {
    let Phase::Running(hold) = &job.phase else {
        return false;
    };
    if hold.lease_until + policy.margin >= now {
        return false;
    }
    let hold = hold.clone();
    job.crashes += 1;
    job.expires_at = None;
    let progress = job.progress.clone();
    remember(job, &hold, AttemptEnd::Crashed { progress }, now);
    if hold.cancel {
        conclude(job, How::Cancelled, now);
    } else if job.crashes >= job.spec.max_crashes {
        conclude(job, How::Dead(DeadReason::Crashes), now);
    } else {
        wait(job, now + policy.wait_after(job.crashes), now);
    }
    true
}

/// T8 (touch): notes that a due job is hinted at now, so that the next hint comes later (less and
/// less often as the job ages). Returns whether the caller must push a hint.
pub fn touch(job: &mut Job, policy: &SweepPolicy, now: Timestamp) -> bool {
    let Some(every) = policy.touch else {
        return false;
    };
    let due_at = job.due_at;
    let Phase::Ready { touch_at } = &mut job.phase else {
        return false;
    };
    if due_at > now || *touch_at > now {
        return false;
    }
    *touch_at = now
        + now
            .since(due_at)
            .clamp(every, SweepPolicy::TOUCH_MAX.max(every));
    true
}

/// T11 (expire): ends a waiting job that is past `expires` or `deadline`. Returns whether it did.
pub fn expire(job: &mut Job, now: Timestamp) -> bool {
    let Phase::Ready { .. } = job.phase else {
        return false;
    };
    let Some(reason) = too_late(job, now) else {
        return false;
    };
    conclude(job, How::Dead(reason), now);
    true
}

/// T12 (purge): whether the job may be purged.
pub fn is_purgeable(job: &Job, now: Timestamp) -> bool {
    matches!(&job.phase, Phase::Ended(end) if end.purge_at <= now)
}

/// Whether the job is deleted in the same step that ends it. The store then keeps its id for
/// [`REMEMBERED`], so that a repeated create can't run the job again.
pub fn vanishes(job: &Job) -> bool {
    matches!(&job.phase, Phase::Ended(end) if end.purge_at <= end.at)
}

/// How long the id of a job that was deleted at its end is remembered.
pub const REMEMBERED: Duration = Duration::from_secs(300);

/// T9 (cancel), T10 (requeue, reschedule, edit) and the operator's half of T12 (delete). `Done` for
/// [`Operation::Delete`] means that the store must delete the job. The store checks unique keys.
pub fn operate(job: &mut Job, operation: &Operation, now: Timestamp) -> Operated {
    let state = job.state();
    let refused = Operated::Refused(state);
    match (operation, &mut job.phase) {
        (Operation::Cancel, Phase::Ready { .. }) => conclude(job, How::Cancelled, now),
        (Operation::Cancel, Phase::Running(hold)) => hold.cancel = true,
        // Asking twice is asking once.
        (Operation::Cancel, Phase::Ended(_)) if state == State::Cancelled => {}
        (Operation::Requeue(due), Phase::Ended(_)) => {
            job.epoch += 1;
            (job.errors, job.crashes, job.progress) = (0, 0, None);
            job.due_at = due.from(now);
            set_limits(job);
            wait(job, job.due_at, now);
        }
        (Operation::Reschedule(due), Phase::Ready { .. }) => {
            job.due_at = due.from(now);
            if job.errors + job.crashes == 0 {
                // A job that has started once (and was released, say) can no longer expire.
                let started = job.expires_at.is_none();
                set_limits(job);
                job.expires_at = job.expires_at.filter(|_| !started);
            }
            wait(job, job.due_at, now);
        }
        (Operation::Edit { ver, .. }, Phase::Ready { .. }) if *ver != job.ver => {
            return Operated::Stale(job.ver);
        }
        (
            Operation::Edit {
                metadata, version, ..
            },
            Phase::Ready { .. },
        ) => {
            let spec = JobSpec {
                metadata: metadata.clone(),
                version: *version,
                ..(*job.spec).clone()
            };
            job.spec = Arc::new(spec);
        }
        (Operation::Delete, Phase::Ended(_)) => return Operated::Done(state),
        _ => return refused,
    }
    job.ver += 1;
    Operated::Done(job.state())
}

/// The light copy of a job that its holder gets.
pub fn claimed(job: &Job, hold: &Hold) -> ClaimedJob {
    ClaimedJob {
        id: job.id,
        spec: Arc::clone(&job.spec),
        token: hold.token,
        fence: job.fence,
        epoch: job.epoch,
        errors: job.errors,
        crashes: job.crashes,
        created_at: job.created_at,
        due_at: job.due_at,
        deadline_at: job.deadline_at,
        claimed_at: hold.since,
    }
}

fn set_limits(job: &mut Job) {
    job.expires_at = job.spec.expires.map(|span| job.due_at + span);
    job.deadline_at = job.spec.deadline.map(|span| job.due_at + span);
}

/// When the sweeper first hints at a job. The enqueuer itself hints at a job that is due at once.
pub fn first_touch(due_at: Timestamp, now: Timestamp) -> Timestamp {
    if due_at > now {
        due_at
    } else {
        now + SweepPolicy::TOUCH
    }
}

fn too_late(job: &Job, now: Timestamp) -> Option<DeadReason> {
    let past = |limit: Option<Timestamp>| limit.is_some_and(|limit| limit <= now);
    if past(job.deadline_at) {
        Some(DeadReason::Deadline)
    } else if past(job.expires_at) {
        Some(DeadReason::Expired)
    } else {
        None
    }
}

/// When a failed job is due again, or why it is dead.
fn after_error(job: &Job, retry: Retry, now: Timestamp) -> Result<Timestamp, DeadReason> {
    let due_at = match retry {
        Retry::Never(reason) => return Err(reason),
        Retry::After(_) if job.errors >= job.spec.max_attempts => return Err(DeadReason::Errors),
        Retry::After(delay) => now + delay,
    };
    // A retry that could only start past the deadline is of no use.
    if job.deadline_at.is_some_and(|limit| limit <= due_at) {
        return Err(DeadReason::Deadline);
    }
    Ok(due_at)
}

/// Makes a job wait. If it is due, the caller that made it wait gives the hint; otherwise the
/// sweeper does.
fn wait(job: &mut Job, due_at: Timestamp, now: Timestamp) {
    job.due_at = due_at;
    job.phase = Phase::Ready {
        touch_at: first_touch(due_at, now),
    };
}

fn conclude(job: &mut Job, how: How, now: Timestamp) {
    let keep = match how {
        How::Dead(_) => JobSpec::RETAIN_DEAD,
        How::Succeeded(_) | How::Cancelled => job.spec.retain,
    };
    job.phase = Phase::Ended(Ended {
        how,
        at: now,
        purge_at: now + keep,
    });
}

fn remember(job: &mut Job, hold: &Hold, end: AttemptEnd, now: Timestamp) {
    if job.history.len() >= limits::HISTORY {
        job.history.remove(0);
    }
    job.history.push(Attempt {
        fence: job.fence,
        owner: hold.owner,
        claimed_at: hold.since,
        ended_at: now,
        end,
    });
}

#[cfg(test)]
mod tests;
