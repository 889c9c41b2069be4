//! T2 (claim), by id and of ready jobs.

use std::{collections::HashSet, time::Duration};

use super::{
    slab::Slot,
    table::{Place, Table},
};
use crate::{
    JobId, Timestamp,
    job::{
        ClaimedJob, Grant, Phase, Room, Serves, Token,
        transition::{self, Refusal},
    },
    store::{Claim, Claimed, Want},
};

impl Table {
    pub(super) fn claim(
        &mut self,
        ids: &[JobId],
        grant: &Grant,
        serves: &Serves,
        now: Timestamp,
    ) -> Vec<Claim> {
        let mut serves = serves.clone();
        serves.suspect &= !self.holds_suspect(grant.token);
        let mut room = Room::default();
        let mut claim = |id: &JobId| {
            let Some(slot) = self.slot(*id) else {
                return Claim::Missing;
            };
            if self.is_ready(slot) && !room.fits(self.bytes(slot)) {
                return Claim::Full;
            }
            match self.change(slot, now, |job| transition::claim(job, grant, &serves, now)) {
                Ok(job) => {
                    serves.suspect &= !job.is_suspect();
                    room.take(job.spec.bytes());
                    Claim::Claimed(job)
                }
                Err(Refusal::NotDue) => Claim::NotDue,
                Err(Refusal::Busy) => Claim::Busy,
                Err(Refusal::NotServed) => Claim::NotServed,
                Err(Refusal::Terminal) => Claim::Terminal,
            }
        };
        ids.iter().map(&mut claim).collect()
    }

    pub(super) fn claim_ready(
        &mut self,
        want: &[Want],
        grant: &Grant,
        serves: &Serves,
        now: Timestamp,
    ) -> Claimed {
        let mut jobs = Vec::new();
        if grant.repeat {
            jobs = self.held_by(grant.token);
        }
        let mut suspect = serves.suspect && !self.holds_suspect(grant.token);
        let mut room = Room::default();
        jobs.iter().for_each(|job| room.take(job.spec.bytes()));
        let (mut more, mut full, mut next) = (false, false, None);
        for Want { queue, max, .. } in want {
            let held = jobs.iter().filter(|job| job.spec.queue == *queue).count();
            let most = jobs.len() + max.saturating_sub(held);
            let mut merge = self.lanes.merge(queue, serves, now);
            while jobs.len() < most
                && let Some(slot) = self.lanes.pop(&mut merge, suspect)
            {
                full = !room.fits(self.bytes(slot));
                if full {
                    self.put_back(slot, now);
                    break;
                }
                if let Some(job) = self.take(slot, grant, serves, now) {
                    suspect &= !job.is_suspect();
                    room.take(job.spec.bytes());
                    jobs.push(job);
                }
            }
            if full {
                break;
            }
            let (left, due_at) = self.lanes.rest(&merge);
            more |= left;
            next = next.into_iter().chain(due_at).min();
        }
        let mut next_due_in = next.filter(|_| !more).map(|due_at| due_at.since(now));
        if full {
            next_due_in = Some(Duration::ZERO);
        }
        let mut claimed = Claimed::new(jobs);
        claimed.next_due_in = next_due_in;
        claimed
    }

    /// Claims a job that was taken out of its lane.
    fn take(
        &mut self,
        slot: Slot,
        grant: &Grant,
        serves: &Serves,
        now: Timestamp,
    ) -> Option<ClaimedJob> {
        let claimed = self.change_entry(slot, now, false, |entry| {
            transition::claim(&mut entry.job, grant, serves, now)
        });
        if let Err(Refusal::NotDue) = claimed {
            // Either the job is too late, and the sweeper finds it by its limit, or the clock went
            // back.
            if self.slab.at(slot).job.due_at > now {
                self.put_back(slot, now);
            }
        }
        claimed.ok()
    }

    /// Puts a job that was taken out of its lane back into it.
    fn put_back(&mut self, slot: Slot, now: Timestamp) {
        let entry = self.slab.at(slot);
        if let Place::Ready { waiting, .. } = entry.place() {
            self.lanes.insert(waiting, entry.job.id, slot, now);
        }
    }

    fn is_ready(&mut self, slot: Slot) -> bool {
        matches!(self.slab.at(slot).job.phase, Phase::Ready { .. })
    }

    fn bytes(&mut self, slot: Slot) -> usize {
        self.slab.at(slot).job.spec.bytes()
    }

    /// The jobs that this token holds, in the order they were claimed.
    fn held_by(&mut self, token: Token) -> Vec<ClaimedJob> {
        let mut seen = HashSet::new();
        let slots = self.grants.slots(token).iter();
        let held = slots.filter(|slot| seen.insert(**slot)).filter_map(|slot| {
            let job = &self.slab.get(*slot)?.job;
            match &job.phase {
                Phase::Running(hold) if hold.token == token => Some(transition::claimed(job, hold)),
                _ => None,
            }
        });
        held.collect()
    }

    fn holds_suspect(&mut self, token: Token) -> bool {
        self.held_by(token).iter().any(ClaimedJob::is_suspect)
    }
}
