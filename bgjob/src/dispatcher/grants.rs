//! [`Grants`]: the jobs this dispatcher holds, by claim. Leases are checked per claim, not per job,
//! until the claim is old enough to need a renewal; most jobs end before that.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    JobId,
    extract::{HeldJob, Services},
    job::ClaimedJob,
    lock::Locked,
};

#[derive(Debug, Default)]
pub(super) struct Grants {
    /// Claims too young to be renewed: added by `add`, moved to the lease loop by `take_older`.
    young: Mutex<Vec<ClaimBatch>>,
    /// Jobs in hand, running, or ended and not recorded yet: raised by `add`, lowered by `release`,
    /// read at shutdown.
    held: AtomicUsize,
    /// The suspects among them; while there is one, no other is asked for.
    suspects: AtomicUsize,
}

#[derive(Debug)]
struct ClaimBatch {
    /// Just before the claim was sent.
    claimed: Instant,
    /// Settled jobs stay here until the whole batch is settled or taken.
    jobs: Vec<Arc<HeldJob>>,
}

impl Grants {
    fn young(&self) -> MutexGuard<'_, Vec<ClaimBatch>> {
        self.young.locked()
    }

    /// Adds the jobs of one claim; `claimed` is the time just before it was sent.
    pub(super) fn add(
        &self,
        jobs: Vec<ClaimedJob>,
        services: &Arc<Services>,
        claimed: Instant,
    ) -> Vec<Arc<HeldJob>> {
        let suspects = jobs.iter().filter(|job| job.is_suspect()).count();
        self.held.fetch_add(jobs.len(), SeqCst);
        self.suspects.fetch_add(suspects, SeqCst);
        let jobs: Vec<_> = jobs
            .into_iter()
            .map(|job| Arc::new(HeldJob::new(job, Arc::clone(services), claimed)))
            .collect();
        let mut young = self.young();
        // Drops settled batches at the front, so that finished jobs don't pile up until the lease
        // thread comes round.
        while young.first().is_some_and(ClaimBatch::is_over) {
            young.swap_remove(0);
        }
        young.push(ClaimBatch {
            claimed,
            jobs: jobs.clone(),
        });
        jobs
    }

    /// Stops holding a job: its end is recorded, or its lease is lost. Only the first call counts.
    pub(super) fn release(&self, held: &HeldJob) {
        if held.settle() {
            self.held.fetch_sub(1, SeqCst);
            if held.job.is_suspect() {
                self.suspects.fetch_sub(1, SeqCst);
            }
        }
    }

    /// Takes out the jobs that were claimed at least this long ago and are still held.
    pub(super) fn take_older(&self, age: Duration) -> Vec<Arc<HeldJob>> {
        let mut old = Vec::new();
        self.young().retain_mut(|batch| {
            if batch.claimed.elapsed() >= age {
                old.extend(batch.jobs.drain(..).filter(|held| !held.is_settled()));
            }
            !batch.jobs.is_empty() && !batch.is_over()
        });
        old
    }

    /// Those of these jobs that are held and that `take_older` has not taken out.
    pub(super) fn young_of(&self, ids: &HashSet<JobId>) -> Vec<Arc<HeldJob>> {
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

impl ClaimBatch {
    /// Whether all jobs are settled. Jobs end in about the order of the claim, so the last one is
    /// checked first.
    fn is_over(&self) -> bool {
        self.jobs.iter().rev().all(|held| held.is_settled())
    }
}
