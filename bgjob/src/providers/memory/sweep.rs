//! T7 (revoke), T8 (touch), T11 (expire), T12 (purge): what happens to jobs as time passes.

use super::{
    ended,
    slab::Slot,
    table::{Place, Table},
};
use crate::{
    Job, Timestamp,
    job::{
        Phase, Token,
        transition::{self, SweepPolicy},
    },
    queue::Hint,
    store::Swept,
};

impl Table {
    pub(super) fn sweep(
        &mut self,
        limit: usize,
        policy: &SweepPolicy,
        now: Timestamp,
    ) -> Vec<Swept> {
        let mut swept = Vec::new();
        while swept.len() < limit
            && let Some((lease_until, token)) = self.grants.first()
            && lease_until + policy.margin < now
        {
            self.revoke(token, limit, policy, now, &mut swept);
        }
        let late = self.limits.range(..=(now, Slot::MAX));
        let late: Vec<_> = late.take(limit - swept.len()).copied().collect();
        for (_, slot) in late {
            let expire = |job: &mut Job| transition::expire(job, now).then(|| Swept::expired(job));
            swept.extend(self.change(slot, now, expire));
        }
        if policy.touch.is_some() {
            self.touch(limit, policy, now, &mut swept);
        }
        swept
    }

    /// Takes the jobs that were not renewed from one hand.
    fn revoke(
        &mut self,
        token: Token,
        limit: usize,
        policy: &SweepPolicy,
        now: Timestamp,
        swept: &mut Vec<Swept>,
    ) {
        let mut slots = self.grants.slots(token).to_vec();
        slots.sort_unstable();
        slots.dedup();
        let mut kept = Vec::new();
        let mut first = Timestamp::MAX;
        for slot in slots {
            let lease_until = match self.slab.get(slot).map(|entry| &entry.job.phase) {
                Some(Phase::Running(hold)) if hold.token == token => hold.lease_until,
                _ => continue,
            };
            let revoke =
                |job: &mut Job| transition::revoke(job, policy, now).then(|| Swept::revoked(job));
            if swept.len() < limit
                && let Some(revoked) = self.change(slot, now, revoke)
            {
                swept.push(revoked);
            } else {
                kept.push(slot);
                first = first.min(lease_until);
            }
        }
        self.grants.looked_at(token, kept, first);
    }

    fn touch(
        &mut self,
        limit: usize,
        policy: &SweepPolicy,
        now: Timestamp,
        swept: &mut Vec<Swept>,
    ) {
        let slab = &self.slab;
        let touches = self.touches.get_or_insert_with(|| {
            let ready = slab.iter().filter_map(|(slot, entry)| match entry.place() {
                Place::Ready { touch_at, .. } => Some((touch_at, slot)),
                _ => None,
            });
            ready.collect()
        });
        let due = touches.range(..=(now, Slot::MAX));
        let due: Vec<_> = due.take(limit - swept.len()).copied().collect();
        for (_, slot) in due {
            if self.change(slot, now, |job| transition::touch(job, policy, now)) {
                let job = &self.slab.at(slot).job;
                swept.push(Swept::Touched(Hint::at(job.id, &job.spec)));
            }
        }
    }

    pub(super) fn purge(&mut self, limit: usize, now: Timestamp) -> usize {
        self.forget_ids(now);
        let Self { lanes, waits, .. } = self;
        lanes.forget(|queue| waits.is_awaited(queue));
        let mut purged = 0;
        while purged < limit
            && let Some((second, mut heap)) = self.ended.take_heap(now)
        {
            let mut kept = Vec::new();
            while purged < limit
                && let Some(slot) = heap.pop()
            {
                match self.purge_at(slot) {
                    Some(purge_at) if ended::second(purge_at) != second => {}
                    Some(purge_at) if purge_at > now => kept.push(slot),
                    Some(_) => {
                        self.delete(slot);
                        purged += 1;
                    }
                    None => {}
                }
            }
            // Only the heap of the current second keeps some jobs, and it is the last one.
            let last = !kept.is_empty();
            heap.append(&mut kept);
            self.ended.put_back(second, heap);
            if last {
                break;
            }
        }
        purged
    }

    /// Keeps the number of ended jobs bounded: those nearest to their purge go first.
    pub(super) fn evict(&mut self) {
        while self.over.jobs > self.over.max
            && let Some((second, mut heap)) = self.ended.take_heap(Timestamp::MAX)
        {
            if let Some(slot) = heap.pop()
                && self.purge_at(slot).map(ended::second) == Some(second)
            {
                self.delete(slot);
            }
            self.ended.put_back(second, heap);
        }
    }

    pub(super) fn forget_ids(&mut self, now: Timestamp) {
        while let Some(id) = self.ended.forget(now) {
            self.ids.remove(&id);
        }
    }

    fn purge_at(&self, slot: Slot) -> Option<Timestamp> {
        match &self.slab.get(slot)?.job.phase {
            Phase::Ended(end) => Some(end.purge_at),
            _ => None,
        }
    }
}
