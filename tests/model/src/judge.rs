//! The invariants of the protocol, judged from what was before a step and what is after it.

use bgjob_core::{
    Job,
    job::{DeadReason, Ended, How, Phase},
};

use super::{
    action::Action,
    config::Model,
    world::{Act, Hand, Late, Outcome, Place, Slot, Time, World},
};

/// What must hold in every world and at every step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// S1: an acknowledged job has a document until it is purged, deleted, or deleted at its end.
    Kept,
    /// S2: what is over stays so, but for an operator.
    Absorbing,
    /// S3: at most one success a job and epoch.
    OneSuccess,
    /// S4: what is over does not start.
    NoStartAfterEnd,
    /// S5: only the current grant's end is recorded.
    OnlyHolderEnds,
    /// S6: starts are bounded by the budgets.
    BoundedStarts,
    /// S7: nothing starts before it is due, or when it is too late.
    NeverEarly,
    /// S8: what is not over can be found by time.
    Findable,
    /// S9: at most one live job to a unique key.
    UniqueKey,
    /// Liveness: from here, everything can still end without another fault.
    CanEnd,
}

/// What must be reached by some path, or the model looks at too little.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    Zombie,
    LateFinish,
    SameClaimAnswered,
    ClaimRepeated,
    LateClaim,
    Batch,
    CreateRepeated,
    CreateRemembered,
    Vanished,
    Purged,
    KeyTaken,
    CancelSeen,
    Cancelled,
    Requeued,
    AllSucceeded,
    DeadByErrors,
    DeadByCrashes,
    DeadByAbort,
    DeadByExpiry,
    DeadByDeadline,
}

/// What one exploration saw.
#[derive(Debug, Default)]
pub struct Notes {
    pub broken: Vec<Rule>,
    seen: u32,
}

impl Notes {
    pub fn saw(&mut self, event: Event) {
        self.seen |= 1 << event as u32;
    }

    pub fn has(&self, event: Event) -> bool {
        self.seen & 1 << event as u32 != 0
    }

    /// Notes how a job ended, if it did.
    pub fn saw_end(&mut self, job: &Job) {
        let Phase::Ended(Ended { how, .. }) = &job.phase else {
            return;
        };
        match how {
            How::Succeeded(_) => {}
            How::Cancelled => self.saw(Event::Cancelled),
            How::Dead(DeadReason::Errors) => self.saw(Event::DeadByErrors),
            How::Dead(DeadReason::Crashes) => self.saw(Event::DeadByCrashes),
            How::Dead(DeadReason::Aborted) => self.saw(Event::DeadByAbort),
            How::Dead(DeadReason::Expired) => self.saw(Event::DeadByExpiry),
            How::Dead(DeadReason::Deadline) => self.saw(Event::DeadByDeadline),
            How::Dead(other) => unreachable!("no handler here ends in {other}"),
        }
    }
}

impl Model {
    /// Notes every rule that a step broke, and keeps the books that the rules need.
    pub fn judge(&self, before: &World, action: Action, after: &mut World, notes: &mut Notes) {
        let rolled_back = action == Action::Rollback;
        for j in 0..self.jobs {
            let (old, new) = (&before.jobs[j], &mut after.jobs[j]);
            if !rolled_back && old.doc != new.doc {
                self.judge_write(old, action, new, ender(before, action, j), notes);
            }
        }
        let mut broken = |rule, holds: bool| {
            if !holds {
                notes.broken.push(rule);
            }
        };
        let jobs = &after.jobs[..self.jobs];
        if self.budgets.rollbacks == 0 {
            broken(
                Rule::Kept,
                jobs.iter()
                    .all(|s| !s.acked || s.doc.place != Place::Absent),
            );
            let live = jobs.iter().filter(|s| s.doc.place.is_live()).count();
            broken(Rule::UniqueKey, !self.unique || live <= 1);
        }
        broken(
            Rule::Findable,
            jobs.iter().all(|s| !s.doc.place.is_live() || s.doc.indexed),
        );
        if jobs.iter().all(|s| s.succeeded) {
            notes.saw(Event::AllSucceeded);
        }
    }

    /// A job's document has changed. `ender` is the grant whose end was being recorded, if any.
    fn judge_write(
        &self,
        old: &Slot,
        action: Action,
        new: &mut Slot,
        ender: Option<(Hand, Outcome)>,
        notes: &mut Notes,
    ) {
        let mut broken = |rule, holds: bool| {
            if !holds {
                notes.broken.push(rule);
            }
        };
        let (was, is) = (old.doc.place, new.doc.place);
        let restores = self.budgets.rollbacks > 0;
        let operator = matches!(
            action,
            Action::Requeue(_) | Action::Delete(_) | Action::Purge(_) | Action::ForgetId(_)
        );
        let over = was.is_terminal() || was == Place::Remembered;
        broken(Rule::Absorbing, !over || was == is || operator);

        let leaves = was.is_live() && matches!(is, Place::Remembered | Place::Gone);
        broken(Rule::Kept, !leaves || self.specs[0].retain.is_zero());

        let starts = was != Place::Running && is == Place::Running;
        if starts {
            new.starts += 1;
            let ended = over || was == Place::Gone;
            broken(Rule::NoStartAfterEnd, !ended);
            let late = [old.doc.expires, old.doc.deadline].contains(&Time::Passed);
            broken(
                Rule::NeverEarly,
                ended || old.doc.due == Time::Passed && !late,
            );
        }
        if let Some((hand, outcome)) = ender {
            let holds = was == Place::Running && old.doc.nonce == hand.nonce;
            broken(Rule::OnlyHolderEnds, holds);
            if matches!(outcome, Outcome::Release | Outcome::Snooze) {
                new.starts = new.starts.saturating_sub(1);
            }
            if outcome == Outcome::Success {
                broken(Rule::OneSuccess, restores || !old.succeeded);
                new.succeeded = true;
            }
        }
        let bound = self.specs[0].max_attempts + self.specs[0].max_crashes - 1;
        broken(
            Rule::BoundedStarts,
            restores || u32::from(new.starts) <= bound,
        );
        if matches!(action, Action::Requeue(_)) {
            (new.succeeded, new.starts) = (false, 0);
        } else if !is.is_live() {
            new.starts = 0;
        }
    }

    /// Whether nothing is left to do: what the liveness pass walks back from.
    pub fn is_over(&self, world: &World) -> bool {
        world.jobs[..self.jobs]
            .iter()
            .all(|slot| !slot.doc.place.is_live())
    }
}

/// The grant of job `j` whose end this action records.
fn ender(world: &World, action: Action, j: usize) -> Option<(Hand, Outcome)> {
    let hand = match action {
        Action::Finish(w, k) | Action::FinishLost(w, k) if usize::from(k) == j => {
            world.workers[usize::from(w)].hands[j]
        }
        Action::LateMessage => match world.late {
            Late::Finish(k, hand, _) if usize::from(k) == j => hand,
            _ => return None,
        },
        _ => return None,
    };
    match hand.act {
        Act::Ending(outcome) => Some((hand, outcome)),
        _ => None,
    }
}
