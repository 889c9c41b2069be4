//! [`World`]: what is known of the store when calls are made. It turns a [`Step`] into an [`Op`].

use std::{collections::BTreeMap, time::Duration};

use bgjob::{
    JobId, Timestamp,
    job::{End, Grant, NewJob, Phase, Serves, Token, transition::Operation},
    store::{Ending, Filter, Period, Renewal, Slice},
};

use super::{
    model::Model,
    names::{self, IDS},
    op::{Claimer, Op},
    step::{Holder, Sought, Step, Wish},
};

#[derive(Debug, Default)]
pub(super) struct World {
    /// Grants made so far.
    grants: u32,
    /// The tokens that each job was held by, the latest one last.
    tokens: BTreeMap<JobId, Vec<Token>>,
    /// Calls made so far.
    calls: Vec<Op>,
}

impl World {
    /// The call that a step stands for now.
    pub(super) fn resolve(&mut self, step: &Step, model: &Model) -> Op {
        let op = match step {
            Step::Create(jobs) => create(jobs),
            Step::Claim(jobs, serves, lease) => Op::Claim {
                ids: jobs.iter().map(|nth| names::id(*nth)).collect(),
                by: self.claimer(serves, *lease),
            },
            Step::ClaimReady(want, serves, lease) => Op::ClaimReady {
                want: want.clone(),
                by: self.claimer(serves, *lease),
            },
            Step::Finish(ends) => Op::Finish(self.ends(ends, model)),
            Step::FinishAndClaim(ends, want, serves, lease) => Op::FinishAndClaim {
                ends: self.ends(ends, model),
                want: want.clone(),
                by: self.claimer(serves, *lease),
            },
            Step::Renew(held, lease) => {
                let held = held.iter().map(|(holder, progress)| {
                    let (id, token) = self.held(holder, model);
                    let mut held = Renewal::new(id, token);
                    held.progress = progress.clone();
                    held
                });
                Op::Renew {
                    held: held.collect(),
                    lease: *lease,
                }
            }
            Step::Sweep(limit, policy) => Op::Sweep {
                limit: *limit,
                policy: policy.clone(),
            },
            Step::Operate(wishes) => {
                let each = wishes
                    .iter()
                    .map(|(nth, wish)| operate(names::id(*nth), *wish, model));
                Op::Operate(each.collect())
            }
            Step::Purge(limit) => Op::Purge {
                limit: *limit,
                look: names::ids(),
            },
            Step::List(sought, order, after, limit) => Op::List {
                filter: filter(sought, model.now),
                slice: Slice {
                    order: *order,
                    after: after.map(names::id),
                    limit: *limit,
                },
            },
            Step::Advance(by) => Op::Advance(*by),
            Step::Repeat(back) => self.repeat(*back),
        };
        self.calls.push(op.clone());
        op
    }

    /// Notes which token holds which job now.
    pub(super) fn look(&mut self, model: &Model) {
        for job in model.jobs.values() {
            if let Phase::Running(hold) = &job.phase {
                let tokens = self.tokens.entry(job.id).or_default();
                if tokens.last() != Some(&hold.token) {
                    tokens.push(hold.token);
                }
            }
        }
    }

    fn claimer(&mut self, serves: &Serves, lease: std::time::Duration) -> Claimer {
        self.grants += 1;
        let (token, owner) = (names::token(self.grants), names::owner(self.grants % 2));
        Claimer {
            grant: Grant::new(token, owner, lease),
            serves: serves.clone(),
        }
    }

    fn ends(&self, ends: &[(Holder, End)], model: &Model) -> Vec<Ending> {
        let end = |(holder, end): &(Holder, End)| {
            let (id, token) = self.held(holder, model);
            Ending::new(id, token, end.clone())
        };
        ends.iter().map(end).collect()
    }

    fn held(&self, holder: &Holder, model: &Model) -> (JobId, Token) {
        let nth = usize::from(holder.job);
        let runs = |id: &&JobId| {
            let job = model.jobs.get(*id);
            job.is_some_and(|job| matches!(job.phase, Phase::Running(_)))
        };
        let running: Vec<_> = self.tokens.keys().filter(runs).copied().collect();
        let id = match running.len() {
            some @ 1.. if holder.running => running[nth % some],
            _ => names::id(holder.job % IDS),
        };
        let tokens = self.tokens.get(&id).map_or(&[][..], Vec::as_slice);
        let token = tokens.iter().rev().nth(usize::from(holder.old));
        // A token that no grant has, if the job did not have that many.
        (id, token.copied().unwrap_or_else(|| names::token(u32::MAX)))
    }

    /// The same call again, as after a lost answer. A claim says that it is a repeat.
    fn repeat(&self, back: usize) -> Op {
        let at = self.calls.len().checked_sub(back);
        let mut op = at.map_or(Op::Counts, |at| self.calls[at].clone());
        if let Op::ClaimReady { by, .. } | Op::FinishAndClaim { by, .. } | Op::Claim { by, .. } =
            &mut op
        {
            by.grant.repeat = true;
        }
        op
    }
}

/// Within one call an id always means the same job, because a batch has no order.
fn create(jobs: &[(u8, bgjob::JobSpec, bgjob::job::Due)]) -> Op {
    let mut news: Vec<NewJob> = Vec::new();
    for (nth, spec, due) in jobs {
        let id = names::id(*nth);
        let known = news.iter().find(|new| new.id == id).cloned();
        news.push(known.unwrap_or_else(|| NewJob::new(id, spec.clone(), *due)));
    }
    Op::Create(news)
}

fn operate(id: JobId, wish: Wish, model: &Model) -> (JobId, Operation) {
    let operation = match wish {
        Wish::Cancel => Operation::Cancel,
        Wish::Requeue(due) => Operation::Requeue(due),
        Wish::Reschedule(due) => Operation::Reschedule(due),
        Wish::Edit {
            metadata,
            version,
            stale,
        } => Operation::Edit {
            metadata: names::json(metadata),
            version,
            ver: model.jobs.get(&id).map_or(0, |job| job.ver) + u64::from(stale),
        },
        Wish::Delete => Operation::Delete,
    };
    (id, operation)
}

fn filter(sought: &Sought, now: Timestamp) -> Filter {
    let last = |span: Option<Duration>| Period {
        from: span.map(|span| Timestamp::from_millis(now.as_millis() - millis(span))),
        // A job that is due at this very moment is not included.
        until: span.map(|_| now),
    };
    let mut filter = sought.filter.clone();
    filter.created = last(sought.created);
    filter.due = last(sought.due);
    filter.ended = last(sought.ended);
    filter
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}
