//! [`Truth`]: what really happened to each job, and the rules that were broken.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use super::rules::{Cause, Known, change, holder};
use crate::{
    Job, JobId, Timestamp,
    job::{ClaimedJob, Token, transition},
    lock::Locked,
    store::{Body, Document},
};

/// What an observer of all changes of the store knows of its jobs.
#[derive(Debug)]
pub(super) struct Truth {
    seen: Mutex<KnownJobs>,
    /// How far the clocks of those that change the jobs may be off.
    slack: Duration,
}

/// What is known of the jobs, and the rules that were broken.
#[derive(Debug, Default)]
struct KnownJobs {
    jobs: BTreeMap<JobId, Known>,
    broken: Vec<String>,
    starts: usize,
    /// Grants that the store has forgotten. Their holders can't know that.
    forgotten: HashSet<(JobId, Token)>,
}

/// What was known of all jobs at one time.
#[derive(Debug)]
pub(super) struct Then(BTreeMap<JobId, Known>);

impl Truth {
    pub(super) fn new(slack: Duration) -> Self {
        Self {
            seen: Mutex::default(),
            slack,
        }
    }

    fn seen(&self) -> MutexGuard<'_, KnownJobs> {
        self.seen.locked()
    }

    /// The rules that were broken so far.
    pub(super) fn broken(&self) -> Vec<String> {
        self.seen().broken.clone()
    }

    /// How many grants there were.
    pub(super) fn starts(&self) -> usize {
        self.seen().starts
    }

    /// S4: a handler starts, so its grant must be the current one.
    pub(super) fn starts_now(&self, job: &ClaimedJob) {
        let mut seen = self.seen();
        let known = seen.jobs.get(&job.id);
        let holds = known.is_some_and(|known| holder(&known.job) == Some(job.token));
        if !holds && !seen.forgotten.contains(&(job.id, job.token)) {
            let now = known.map(|known| known.job.state());
            let text = format!("S4: {} starts while it is {now:?}", job.id);
            seen.broken.push(text);
        }
    }

    /// A call has changed or deleted a job at this time.
    pub(super) fn change(&self, id: JobId, job: Option<Job>, cause: &Cause, now: Timestamp) {
        self.seen().change(id, job, cause, now + self.slack);
    }

    /// A document was written or deleted. The cause is inferred from the change.
    pub(super) fn written(&self, id: JobId, document: Option<&Document>, now: Timestamp) {
        let job = match document.map(Body::read) {
            Some(Some(Body::Job(job))) => Some(*job),
            Some(Some(Body::Key { .. })) => return,
            Some(None) => {
                let text = format!("{id} was written and can't be read");
                return self.seen().broken.push(text);
            }
            None | Some(Some(Body::Gone { .. } | Body::Void { .. })) => None,
        };
        let mut seen = self.seen();
        let now = now + self.slack;
        let known = seen.jobs.get(&id).map(|known| &known.job);
        let cause = Cause::told_by(known, job.as_ref(), now);
        seen.change(id, job, &cause, now);
    }

    /// The jobs that may have been purged: the call does not say which were.
    pub(super) fn purgeable(&self, now: Timestamp) -> Vec<JobId> {
        let seen = self.seen();
        let jobs = seen.jobs.iter();
        let old = jobs.filter(|(_, known)| transition::is_purgeable(&known.job, now));
        old.map(|(id, _)| *id).collect()
    }

    /// The jobs that are not over.
    pub(super) fn live(&self) -> Vec<JobId> {
        let seen = self.seen();
        let jobs = seen.jobs.iter();
        let live = jobs.filter(|(_, known)| !known.job.state().is_terminal());
        live.map(|(id, _)| *id).collect()
    }

    /// What is known now.
    pub(super) fn now(&self) -> Then {
        Then(self.seen().jobs.clone())
    }

    /// The store has been restored to what it held then.
    pub(super) fn go_back(&self, then: &Then) {
        let mut seen = self.seen();
        let held = seen.jobs.iter();
        let held = held.filter_map(|(id, known)| Some((*id, holder(&known.job)?)));
        let held: Vec<_> = held.collect();
        seen.forgotten.extend(held);
        seen.jobs.clone_from(&then.0);
    }
}

impl KnownJobs {
    fn change(&mut self, id: JobId, job: Option<Job>, cause: &Cause, now: Timestamp) {
        if matches!(cause, Cause::Claim(_)) {
            self.starts += 1;
        }
        let known = self.jobs.get(&id);
        if let Some(job) = &job
            && known.is_none_or(|known| known.job.state().is_terminal())
            && !job.state().is_terminal()
        {
            self.check_key(job);
        }
        match change(self.jobs.remove(&id), job, cause, now) {
            Ok(Some(known)) => _ = self.jobs.insert(id, known),
            Ok(None) => {}
            Err(text) => self.broken.push(format!("{text} ({id}, {cause})")),
        }
    }

    /// S9: a job that becomes live is the only live job with its key.
    fn check_key(&mut self, job: &Job) {
        let Some(key) = &job.spec.unique_key else {
            return;
        };
        let other = self.jobs.iter().find(|(id, known)| {
            **id != job.id
                && !known.job.state().is_terminal()
                && known.job.spec.unique_key.as_ref() == Some(key)
        });
        if let Some((other, _)) = other {
            let text = format!("S9: {} and {other} have one key", job.id);
            self.broken.push(text);
        }
    }
}
