//! What the passing of time does to jobs.

use std::collections::BTreeSet;

use bgjob::{
    Job, JobId,
    job::transition::{self, SweepPolicy},
    queue::Hint,
    store::Swept,
};

use super::{Model, Verdict, ensure, same};

impl Model {
    pub(super) fn sweep(&mut self, limit: usize, policy: &SweepPolicy, swept: &[Swept]) -> Verdict {
        ensure(swept.len() <= limit, || {
            format!("{} swept where the limit is {limit}", swept.len())
        })?;
        let mut revoked = BTreeSet::new();
        for one in swept {
            let (Swept::Revoked { id, .. }
            | Swept::Expired { id, .. }
            | Swept::Touched(Hint { id, .. })
            | Swept::Unreadable { id }) = one;
            let Some(job) = self.jobs.get_mut(id) else {
                return Err(format!("swept {id}, which is not there"));
            };
            if matches!(one, Swept::Revoked { .. }) {
                revoked.insert(*id);
            }
            let expected = match one {
                Swept::Revoked { .. } => revoke(job, policy, self.now),
                Swept::Expired { .. } => expire(job, self.now),
                Swept::Touched(_) => touch(job, policy, self.now),
                Swept::Unreadable { .. } => None,
            };
            let expected = expected.ok_or_else(|| format!("this is not its turn: {one:?}"))?;
            same("sweep", &expected, one)?;
            self.settle(*id);
        }
        if swept.len() == limit {
            return Ok(());
        }
        // A job that a revoke left too late may wait for the next sweep.
        let left = self.jobs.values().filter(|job| !revoked.contains(&job.id));
        let due = left.filter_map(|job| {
            let job = &mut job.clone();
            revoke(job, policy, self.now)
                .or_else(|| expire(job, self.now))
                .or_else(|| touch(job, policy, self.now))
        });
        match due.into_iter().next() {
            Some(missed) => Err(format!("a sweep with room left misses {missed:?}")),
            None => Ok(()),
        }
    }

    /// If the limit is reached, the store chooses which jobs go: `left` names those of `look` that
    /// are still there.
    pub(super) fn purge(
        &mut self,
        limit: usize,
        look: &[JobId],
        purged: usize,
        left: &[JobId],
    ) -> Verdict {
        let old = |job: &&Job| transition::is_purgeable(job, self.now);
        let old: Vec<_> = self.jobs.values().filter(old).map(|job| job.id).collect();
        same("purge", &old.len().min(limit), &purged)?;
        let gone = |id: &&JobId| purged == old.len() || look.contains(id) && !left.contains(id);
        let gone: Vec<_> = old.iter().filter(gone).copied().collect();
        same("purge, by what is left,", &purged, &gone.len())?;
        for id in gone {
            self.jobs.remove(&id);
        }
        Ok(())
    }
}

fn revoke(job: &mut Job, policy: &SweepPolicy, now: bgjob::Timestamp) -> Option<Swept> {
    transition::revoke(job, policy, now).then(|| Swept::revoked(job))
}

fn expire(job: &mut Job, now: bgjob::Timestamp) -> Option<Swept> {
    transition::expire(job, now).then(|| Swept::expired(job))
}

fn touch(job: &mut Job, policy: &SweepPolicy, now: bgjob::Timestamp) -> Option<Swept> {
    let touched = transition::touch(job, policy, now);
    touched.then(|| Swept::Touched(Hint::at(job.id, &job.spec)))
}
