//! Claims, by id and of ready jobs.

use std::sync::Arc;

use bgjob::{
    Job, JobId, Timestamp,
    job::{
        ClaimedJob, Grant, Phase, Serves, Token,
        transition::{self, Refusal},
    },
    store::{Claim, Claimed, Want},
};

use super::{Model, Verdict, each, ensure, same};
use crate::random::op::Claimer;

/// The state of a claim of ready jobs, while its answer is judged job by job.
pub(super) struct Row<'a> {
    pub(super) by: &'a Claimer,
    /// A suspect may be claimed: the claimer wants one, and the grant holds none.
    pub(super) wanted: bool,
    /// The queue of the answer's one suspect, if it has one.
    from: Option<Arc<str>>,
    /// The suspect was seen.
    pub(super) taken: bool,
}

impl Model {
    pub(super) fn claim(&mut self, ids: &[JobId], by: &Claimer, answers: &[Claim]) -> Verdict {
        let mut serves = by.serves.clone();
        serves.suspect &= !self.held_by(by.grant.token).any(Job::is_suspect);
        each("claim", ids, answers, |id, got| {
            self.claim_one(*id, &by.grant, &mut serves, got)
        })
    }

    fn claim_one(&mut self, id: JobId, grant: &Grant, serves: &mut Serves, got: &Claim) -> Verdict {
        let Some(job) = self.jobs.get(&id) else {
            let over = self.gone.contains_key(&id) && *got == Claim::Terminal;
            return ensure(over || *got == Claim::Missing, || {
                format!("there is no such job, not {got:?}")
            });
        };
        let (suspect, now) = (job.is_suspect(), self.now);
        match (transition::claim(&mut job.clone(), grant, serves, now), got) {
            (Ok(_), Claim::Claimed(claimed)) if claimed.id == id => {
                self.follow(grant, serves, claimed)?;
                serves.suspect &= !suspect;
                Ok(())
            }
            (Ok(_), got) => Err(format!("it can be claimed, not {got:?}")),
            (Err(refusal), got) => same("claim", &refused(refusal), got),
        }
    }

    pub(super) fn claim_ready(&mut self, want: &[Want], by: &Claimer, got: &Claimed) -> Verdict {
        let new = self.repeated(by, &got.jobs)?;
        let held = got.jobs.len() - new.len();
        let suspects: Vec<_> = new.iter().filter(|job| self.is_suspect(job.id)).collect();
        let mut row = Row {
            by,
            wanted: by.serves.suspect && !got.jobs[..held].iter().any(ClaimedJob::is_suspect),
            from: suspects.first().map(|job| job.spec.queue.clone()),
            taken: false,
        };
        let most = usize::from(row.wanted);
        ensure(suspects.len() <= most, || {
            format!("{} suspects where {most} is wanted", suspects.len())
        })?;
        for (nth, job) in new.iter().enumerate() {
            let before = &got.jobs[..held + nth];
            let queue = &job.spec.queue;
            let max = want.iter().find(|want| want.queue == *queue);
            let max = max.map_or(0, |want| want.max);
            ensure(of(queue, before) < max, || {
                format!("more than {max} of {queue} are claimed")
            })?;
            self.claim_next(&mut row, job)?;
        }
        for Want { queue, max, .. } in want {
            if of(queue, &got.jobs) < *max
                && let Some(left) = self.first(&row, queue)
            {
                return Err(format!("{left} of {queue} can be claimed and is left out"));
            }
        }
        if self.tells_next_due {
            self.next_due(want, &row, got.next_due_in)?;
        }
        Ok(())
    }

    /// Checks the jobs that a repeated claim returns first. Returns the rest.
    fn repeated<'a>(
        &mut self,
        by: &Claimer,
        jobs: &'a [ClaimedJob],
    ) -> Result<&'a [ClaimedJob], String> {
        if !by.grant.repeat {
            return Ok(jobs);
        }
        let mut held: Vec<_> = self.held_by(by.grant.token).map(|job| job.id).collect();
        let (again, new) = jobs.split_at(held.len().min(jobs.len()));
        let mut ids: Vec<_> = again.iter().map(|job| job.id).collect();
        ids.sort_unstable();
        held.sort_unstable();
        same("a repeat, to begin with,", &held, &ids)?;
        for job in again {
            self.follow(&by.grant, &by.serves, job)?;
        }
        Ok(new)
    }

    /// Checks one job of the answer, in its turn.
    fn claim_next(&mut self, row: &mut Row<'_>, got: &ClaimedJob) -> Verdict {
        let Some(job) = self.jobs.get(&got.id) else {
            return Err(format!("claimed {}, which is not there", got.id));
        };
        ensure(self.can(row, job), || {
            format!("{} can't be claimed", got.id)
        })?;
        let first = self.first(row, &job.spec.queue).expect("this one at least");
        let earlier = &self.jobs[&first];
        ensure(place(earlier) == place(job), || {
            format!("{first} comes before {}", got.id)
        })?;
        row.taken |= job.is_suspect();
        let serves = row.by.serves.clone().suspect(true);
        self.follow(&row.by.grant, &serves, got)
    }

    /// The first job of a queue that can be claimed.
    fn first(&self, row: &Row<'_>, queue: &str) -> Option<JobId> {
        let in_queue = self.jobs.values().filter(|job| *job.spec.queue == *queue);
        let can = in_queue.filter(|job| self.can(row, job));
        can.min_by_key(|job| place(job)).map(|job| job.id)
    }

    /// Whether a claim can take this job now. The one suspect may come from any queue; the store
    /// decides which.
    pub(super) fn can(&self, row: &Row<'_>, job: &Job) -> bool {
        let its_queue = row.from.as_ref().is_none_or(|from| *from == job.spec.queue);
        let suspect = row.wanted && !row.taken && its_queue;
        let serves = row.by.serves.clone().suspect(suspect);
        let ready = matches!(job.phase, Phase::Ready { .. });
        ready && transition::claim(&mut job.clone(), &row.by.grant, &serves, self.now).is_ok()
    }

    /// Follows a claim that the store reports, if the claim is allowed.
    fn follow(&mut self, grant: &Grant, serves: &Serves, got: &ClaimedJob) -> Verdict {
        let now = self.now;
        let Some(job) = self.jobs.get_mut(&got.id) else {
            return Err(format!("claimed {}, which is not there", got.id));
        };
        let before = (job.state(), job.fence);
        let mut expected = transition::claim(job, grant, serves, now)
            .map_err(|refusal| format!("{} is {refusal:?}", got.id))?;
        if before.0 == job.state() {
            return same("a repeated claim", &expected, got);
        }
        ensure(got.fence > before.1, || {
            format!("the fence went from {} to {}", before.1, got.fence)
        })?;
        (job.fence, expected.fence) = (got.fence, got.fence);
        same("claim", &expected, got)
    }

    fn held_by(&self, token: Token) -> impl Iterator<Item = &Job> {
        self.jobs
            .values()
            .filter(move |job| matches!(&job.phase, Phase::Running(hold) if hold.token == token))
    }

    fn is_suspect(&self, id: JobId) -> bool {
        self.jobs.get(&id).is_some_and(Job::is_suspect)
    }
}

fn place(job: &Job) -> (u8, Timestamp) {
    (job.spec.priority.rank(), job.due_at)
}

/// How many of these jobs are of this queue.
fn of(queue: &str, jobs: &[ClaimedJob]) -> usize {
    let of = jobs.iter().filter(|job| *job.spec.queue == *queue);
    of.count()
}

fn refused(refusal: Refusal) -> Claim {
    match refusal {
        Refusal::NotDue => Claim::NotDue,
        Refusal::Busy => Claim::Busy,
        Refusal::NotServed => Claim::NotServed,
        Refusal::Terminal => Claim::Terminal,
    }
}
