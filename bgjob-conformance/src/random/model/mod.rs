//! [`Model`]: what a store may answer, by the pure transitions and nothing else.
//!
//! Jobs are in a map, every question is a scan over all of them, and there is no index that could
//! be wrong. The model does not answer calls itself: it gets an answer, checks that the contract
//! allows it, and follows it. So it leaves open what the contract leaves open: which of equal jobs
//! is claimed, by how much a fence grows, which jobs go first if a limit is reached.

mod claim;
mod look;
mod next_due;
mod sweep;

use std::collections::BTreeMap;

use bgjob::{
    Job, JobId, Timestamp,
    job::{
        End, NewJob, State, Token,
        transition::{self, Operated, Operation, REMEMBERED},
    },
    store::{Created, Ending, Finished, Holder, Renewal, Renewed},
};

use super::op::{Answer, Op};

/// Why an answer is wrong.
pub(super) type Verdict = Result<(), String>;

/// The jobs that the store should have.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Model {
    pub(super) now: Timestamp,
    pub(super) jobs: BTreeMap<JobId, Job>,
    /// The ids of jobs that were deleted when they ended, and until when they are remembered.
    gone: BTreeMap<JobId, Timestamp>,
    /// The ends that were applied: a store may answer a repeat with the same again.
    applied: Vec<Applied>,
    /// Its claims say when the next job is due. This is not checked if other calls interfere with
    /// claims: a store may read and claim at different moments, and the change wakes the waiting
    /// claimer.
    pub(super) tells_next_due: bool,
}

#[derive(Debug, Clone, PartialEq)]
struct Applied {
    id: JobId,
    token: Token,
    end: End,
    state: State,
}

impl Model {
    pub(super) const fn new(now: Timestamp, tells_next_due: bool) -> Self {
        Self {
            now,
            jobs: BTreeMap::new(),
            gone: BTreeMap::new(),
            applied: Vec::new(),
            tells_next_due,
        }
    }

    /// Judges the answer to a call made now, and applies the call.
    pub(super) fn judge(&mut self, op: &Op, answer: &Answer) -> Verdict {
        match (op, answer) {
            (Op::Create(jobs), Answer::Created(answers)) => {
                each("create", jobs, answers, |new, got| self.create(new, got))
            }
            (Op::Claim { ids, by }, Answer::Claims(answers)) => self.claim(ids, by, answers),
            (Op::ClaimReady { want, by }, Answer::Claimed(claimed)) => {
                self.claim_ready(want, by, claimed)
            }
            (Op::Finish(ends), Answer::Finished(answers)) => self.finish_all(ends, answers),
            (Op::FinishAndClaim { ends, want, by }, Answer::Both(finished, claimed)) => {
                self.finish_all(ends, finished)?;
                self.claim_ready(want, by, claimed)
            }
            (Op::Renew { held, lease }, Answer::Renewed(answers)) => {
                each("renew", held, answers, |held, got| {
                    self.renew(held, *lease, got)
                })
            }
            (Op::Sweep { limit, policy }, Answer::Swept(swept)) => {
                self.sweep(*limit, policy, swept)
            }
            (Op::Operate(asked), Answer::Operated(answers)) => {
                each("operate", asked, answers, |(id, operation), got| {
                    same("operate", &self.operate(*id, operation), got)
                })
            }
            (Op::Purge { limit, look }, Answer::Purged(purged, left)) => {
                self.purge(*limit, look, *purged, left)
            }
            (Op::Get(ids), Answer::Got(jobs)) => {
                each("get", ids, jobs, |id, got| self.get(*id, got.as_ref()))
            }
            (Op::List { filter, slice }, Answer::Listed(got)) => self.list(filter, slice, got),
            (Op::Counts, Answer::Counts(counts)) => self.counts(counts),
            (Op::Advance(_), Answer::Time(now)) => {
                self.now = *now;
                Ok(())
            }
            _ => Err(format!("no answer to this call: {answer:?}")),
        }
    }

    fn create(&mut self, new: &NewJob, got: &Created) -> Verdict {
        if self
            .gone
            .get(&new.id)
            .is_some_and(|until| *until > self.now)
        {
            // The job's content is gone, so a store can't tell a repeat from another job.
            let fine = matches!(got, Created::Exists | Created::IdTaken(_));
            return ensure(fine, || format!("the id is remembered, not {got:?}"));
        }
        self.gone.remove(&new.id);
        let expected = match self.jobs.get(&new.id) {
            Some(job) if transition::is_repeat(job, new) => Created::Exists,
            Some(job) => Created::IdTaken(job.spec.name.clone()),
            None => match self.key_holder(new.spec.unique_key.as_deref()) {
                Some(holder) => Created::KeyTaken(Holder::of(&self.jobs[&holder])),
                None => {
                    self.jobs.insert(new.id, transition::create(new, self.now));
                    Created::Created
                }
            },
        };
        same("create", &expected, got)
    }

    fn key_holder(&self, key: Option<&str>) -> Option<JobId> {
        let key = key?;
        let mut live = self.jobs.values().filter(|job| !job.state().is_terminal());
        live.find(|job| job.spec.unique_key.as_deref() == Some(key))
            .map(|job| job.id)
    }

    fn finish_all(&mut self, ends: &[Ending], answers: &[Finished]) -> Verdict {
        each("finish", ends, answers, |ending, got| {
            self.finish(ending, *got)
        })
    }

    fn finish(&mut self, ending: &Ending, got: Finished) -> Verdict {
        let Ending { id, token, end, .. } = ending;
        let job = self.jobs.get_mut(id);
        let ended = job.and_then(|job| transition::finish(job, *token, end, self.now));
        let Some(state) = ended else {
            let same_again = |applied: &Applied| {
                (applied.id, applied.token, &applied.end) == (*id, *token, end)
                    && got == Finished::Applied(applied.state)
            };
            let fine = got == Finished::Lost || self.applied.iter().any(same_again);
            return ensure(fine, || format!("the token holds nothing, not {got:?}"));
        };
        self.applied.push(Applied {
            id: *id,
            token: *token,
            end: end.clone(),
            state,
        });
        self.settle(*id);
        same("finish", &Finished::Applied(state), &got)
    }

    fn renew(&mut self, held: &Renewal, lease: std::time::Duration, got: &Renewed) -> Verdict {
        let job = self.jobs.get_mut(&held.id);
        let progress = held.progress.as_ref();
        let renewed =
            job.and_then(|job| transition::renew(job, held.token, progress, lease, self.now));
        let expected = match renewed {
            Some(cancel) => Renewed::Renewed { cancel },
            None => Renewed::Lost,
        };
        same("renew", &expected, got)
    }

    fn operate(&mut self, id: JobId, operation: &Operation) -> Operated {
        let Some(job) = self.jobs.get(&id) else {
            return Operated::Missing;
        };
        if matches!(operation, Operation::Requeue(_))
            && job.state().is_terminal()
            && let Some(holder) = self.key_holder(job.spec.unique_key.as_deref())
        {
            return Operated::KeyTaken(holder);
        }
        let job = self.jobs.get_mut(&id).expect("it was there a moment ago");
        let done = transition::operate(job, operation, self.now);
        match (operation, done) {
            (Operation::Delete, Operated::Done(_)) => _ = self.jobs.remove(&id),
            _ => self.settle(id),
        }
        done
    }

    /// Deletes a job that has ended and has no retention.
    fn settle(&mut self, id: JobId) {
        if self.jobs.get(&id).is_some_and(transition::vanishes) {
            self.jobs.remove(&id);
            self.gone.insert(id, self.now + REMEMBERED);
        }
    }
}

fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(otherwise()) }
}

fn same<T: PartialEq + std::fmt::Debug>(call: &str, expected: &T, got: &T) -> Verdict {
    ensure(expected == got, || {
        format!("{call} should answer {expected:?}, not {got:?}")
    })
}

/// Checks that there is one answer an element, in order.
fn each<T, A>(
    call: &str,
    asked: &[T],
    answers: &[A],
    mut judge: impl FnMut(&T, &A) -> Verdict,
) -> Verdict {
    let (asked_n, answered) = (asked.len(), answers.len());
    ensure(asked_n == answered, || {
        format!("{call} gives one answer an element: {answered} to {asked_n}")
    })?;
    for (nth, (asked, answer)) in asked.iter().zip(answers).enumerate() {
        judge(asked, answer).map_err(|why| format!("element {nth}: {why}"))?;
    }
    Ok(())
}
