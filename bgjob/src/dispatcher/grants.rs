//! [`Grants`]: what this process holds, by claim. A lease is looked at per claim, not per job,
//! until it is old enough to need a renewal; most jobs end before.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    JobId,
    extract::{Held, Services},
    job::ClaimedJob,
};

#[derive(Debug, Default)]
pub(super) struct Grants {
    young: Mutex<Vec<Batch>>,
    /// Jobs in hand, running, or ended and not recorded yet.
    held: AtomicUsize,
    /// Those of them that saw a crash before.
    suspects: AtomicUsize,
}

#[derive(Debug)]
struct Batch {
    claimed: Instant,
    jobs: Vec<Arc<Held>>,
}

impl Grants {
    fn young(&self) -> MutexGuard<'_, Vec<Batch>> {
        self.young.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in what one claim gave; `claimed` is from before it was sent.
    pub(super) fn add(
        &self,
        jobs: Vec<ClaimedJob>,
        services: &Arc<Services>,
        claimed: Instant,
    ) -> Vec<Arc<Held>> {
        let suspects = jobs.iter().filter(|job| job.is_suspect()).count();
        self.held.fetch_add(jobs.len(), SeqCst);
        self.suspects.fetch_add(suspects, SeqCst);
        let jobs: Vec<_> = jobs
            .into_iter()
            .map(|job| Arc::new(Held::new(job, Arc::clone(services), claimed)))
            .collect();
        let mut young = self.young();
        // What is through is dropped here, a batch at a time, so that finished jobs don't pile up
        // until the lease thread comes round.
        while young.first().is_some_and(Batch::is_over) {
            young.swap_remove(0);
        }
        young.push(Batch {
            claimed,
            jobs: jobs.clone(),
        });
        jobs
    }

    /// A job's end is recorded, or of no interest any more: it is no longer held.
    pub(super) fn release(&self, held: &Held) {
        if held.settle() {
            self.held.fetch_sub(1, SeqCst);
            if held.job.is_suspect() {
                self.suspects.fetch_sub(1, SeqCst);
            }
        }
    }

    /// Hands over the jobs that were claimed at least this long ago and are still held.
    pub(super) fn take_older(&self, age: Duration) -> Vec<Arc<Held>> {
        let mut old = Vec::new();
        self.young().retain_mut(|batch| {
            if batch.claimed.elapsed() >= age {
                old.extend(batch.jobs.drain(..).filter(|held| !held.is_settled()));
            }
            !batch.jobs.is_empty() && !batch.is_over()
        });
        old
    }

    /// Those of these jobs that no renewal is due for yet.
    pub(super) fn young_of(&self, ids: &HashSet<JobId>) -> Vec<Arc<Held>> {
        let young = self.young();
        let jobs = young.iter().flat_map(|batch| &batch.jobs);
        let of = jobs.filter(|held| ids.contains(&held.job.id) && !held.is_settled());
        of.cloned().collect()
    }

    pub(super) fn held(&self) -> usize {
        self.held.load(SeqCst)
    }

    pub(super) fn suspects(&self) -> usize {
        self.suspects.load(SeqCst)
    }
}

impl Batch {
    /// Ends come in about the order of the claim, so the last job is looked at first.
    fn is_over(&self) -> bool {
        self.jobs.iter().rev().all(|held| held.is_settled())
    }
}
