//! Read, apply, replace by version; start over where another writer was faster.

use std::collections::HashSet;

use super::{Documents, body::Body};
use crate::{
    Error, ErrorKind, Job, JobId, Result,
    job::State,
    store::{Document, DocumentStore, Replaced, Version},
};

/// What is stored under a job's id.
#[derive(Debug)]
pub(super) enum Read {
    Job(Box<Job>, Version),
    /// There is a document, and it can't be read.
    Unreadable,
    Nothing,
}

impl<D: DocumentStore> Documents<D> {
    /// Applies a transition to the job of each item, until each has an answer. `None` where there
    /// is no job. `apply` also returns whether it changed the job.
    pub(super) async fn change<T: Sync, A: Send>(
        &self,
        items: &[T],
        id: impl Fn(&T) -> JobId + Send + Sync,
        mut apply: impl FnMut(&T, &mut Job) -> (A, bool) + Send,
    ) -> Result<Vec<Option<A>>> {
        let mut answers: Vec<Option<A>> = items.iter().map(|_| None).collect();
        let mut open: Vec<usize> = (0..items.len()).collect();
        let mut futile = 0;
        while !open.is_empty() {
            Self::give_way(futile).await;
            let (mut turn, mut later) = one_of_each(&open, |nth| id(&items[nth]));
            let portion = self.sizes.portion().min(turn.len());
            later.extend(turn.drain(portion..));
            let ids: Vec<_> = turn.iter().map(|&nth| id(&items[nth])).collect();
            let (mut writes, mut written) = (Vec::new(), Vec::new());
            for (&nth, read) in turn.iter().zip(self.read_jobs(&ids).await?) {
                let Some((mut job, version)) = read else {
                    // Discards the answer of an earlier round, whose write came too late.
                    answers[nth] = None;
                    continue;
                };
                let (answer, changed) = apply(&items[nth], &mut job);
                answers[nth] = Some(answer);
                if changed {
                    writes.push((job, version));
                    written.push(nth);
                }
            }
            let lost = self.write_jobs(writes).await?;
            let lost = written.into_iter().zip(lost).filter(|(_, done)| !done);
            let mut again: Vec<_> = lost.map(|(nth, _)| nth).collect();
            futile = if again.len() == turn.len() {
                futile + 1
            } else {
                0
            };
            if futile == Self::ROUNDS {
                return Err(self.contended());
            }
            again.extend(later);
            again.sort_unstable();
            open = again;
        }
        Ok(answers)
    }

    /// The jobs with these ids, each with its version.
    pub(super) async fn read_jobs(&self, ids: &[JobId]) -> Result<Vec<Option<(Job, Version)>>> {
        let job = |read| match read {
            Read::Job(job, version) => Some((*job, version)),
            Read::Unreadable | Read::Nothing => None,
        };
        Ok(self.read(ids).await?.into_iter().map(job).collect())
    }

    /// The same, but tells missing jobs from unreadable ones.
    pub(super) async fn read(&self, ids: &[JobId]) -> Result<Vec<Read>> {
        let read = |document: Document| match Body::read(&document) {
            Some(Body::Job(job)) => Read::Job(job, document.version),
            Some(_) => Read::Nothing,
            None => Read::Unreadable,
        };
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut all = Vec::with_capacity(ids.len());
        let mut rest = ids;
        while !rest.is_empty() {
            let (portion, later) = rest.split_at(self.sizes.portion().min(rest.len()));
            let documents = self.store.get(portion).await?;
            self.sizes.learn(documents.iter().flatten());
            let documents = documents.into_iter();
            all.extend(documents.map(|document| document.map_or(Read::Nothing, read)));
            rest = later;
        }
        Ok(all)
    }

    /// The error that names the place of an unreadable document.
    pub(super) fn unreadable(&self, id: JobId) -> Error {
        let message = "what is stored there can't be read: mend it, or remove it";
        Error::new(ErrorKind::Internal, message).with("place", self.store.place(id))
    }

    /// Writes jobs after their transitions and wakes their waiters. Returns for each job whether it
    /// still had its version.
    pub(super) async fn write_jobs(&self, jobs: Vec<(Job, Version)>) -> Result<Vec<bool>> {
        if jobs.is_empty() {
            return Ok(Vec::new());
        }
        let mut news = Vec::with_capacity(jobs.len());
        let mut documents = Vec::with_capacity(jobs.len());
        for (job, version) in jobs {
            let id = job.id;
            news.push((id, job.state(), job.spec.queue.clone()));
            documents.push(Body::of(job).write(id, version)?);
        }
        let replaced = self.store.replace(&documents).await?;
        let done = replaced
            .into_iter()
            .map(|answer| answer == Replaced::Replaced);
        let done: Vec<_> = done.collect();
        for ((id, state, queue), _) in news.iter().zip(&done).filter(|(_, done)| **done) {
            match state {
                State::Ready => self.waits.wake_ready(queue),
                State::Running => {}
                _ => self.waits.wake_ended(*id),
            }
        }
        Ok(done)
    }
}

/// Splits off elements whose id came before: a job makes one step at a time.
pub(super) fn one_of_each(open: &[usize], id: impl Fn(usize) -> JobId) -> (Vec<usize>, Vec<usize>) {
    let mut seen = HashSet::new();
    open.iter().partition(|&&nth| seen.insert(id(nth)))
}
