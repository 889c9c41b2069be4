//! Calls that change one job each, and calls that only look.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    sync::Arc,
    time::Duration,
};

use tokio::sync::Notify;

use super::{
    slab::{self, Slot},
    table::{Counted, GONE, Table},
    waits::{On, Wait},
};
use crate::{
    Job, JobId, Timestamp,
    job::{
        NewJob, Phase, State, limits,
        transition::{self, Operated, Operation},
    },
    store::{
        Created, Ending, Filter, Finished, Holder, Listed, Order, QueueCounts, Renewal, Renewed,
        Slice,
    },
};

impl Table {
    pub(super) fn create(&mut self, new: &NewJob, now: Timestamp) -> Created {
        self.forget_ids(now);
        // Looked up only once, because a lookup among a million ids takes a while.
        let place = match self.ids.entry(new.id) {
            Entry::Vacant(place) => place,
            // The job's content is gone, so a known id counts as proof of a repeat.
            Entry::Occupied(slot) if *slot.get() == GONE => return Created::Exists,
            Entry::Occupied(slot) => {
                let stored = &self.slab.at(*slot.get()).job;
                return if transition::is_repeat(stored, new) {
                    Created::Exists
                } else {
                    Created::IdTaken(Arc::clone(&stored.spec.name))
                };
            }
        };
        if let Some(key) = &new.spec.unique_key
            && let Some(holder) = self.keys.get(key)
        {
            let slot = self.ids[holder];
            return Created::KeyTaken(Holder::of(&self.slab.at(slot).job));
        }
        if let Some(reason) = self.live.refuses(new) {
            return Created::Rejected(reason);
        }
        let entry = slab::Entry {
            lane: self
                .lanes
                .of(&new.spec.queue, &new.spec.name, new.spec.version),
            job: transition::create(new, now),
        };
        let (ready, lane) = (entry.place(), entry.lane);
        let slot = self.slab.insert(entry);
        place.insert(slot);
        self.live.jobs += 1;
        self.lanes.count(lane, None, Some(State::Ready));
        self.put_in(ready, slot, now);
        Created::Created
    }

    pub(super) fn finish(&mut self, ending: &Ending, now: Timestamp) -> Finished {
        let finish = |job: &mut Job| transition::finish(job, ending.token, &ending.end, now);
        match self.slot(ending.id) {
            Some(slot) => self
                .change(slot, now, finish)
                .map_or(Finished::Lost, Finished::Applied),
            None => Finished::Lost,
        }
    }

    pub(super) fn renew(&mut self, held: &Renewal, lease: Duration, now: Timestamp) -> Renewed {
        let Some(slot) = self.slot(held.id) else {
            return Renewed::Lost;
        };
        // The hand's lease is not updated: it only says where the sweeper looks; the job's own
        // lease decides.
        let job = &mut self.slab.at(slot).job;
        match transition::renew(job, held.token, held.progress.as_ref(), lease, now) {
            Some(cancel) => Renewed::Renewed { cancel },
            None => Renewed::Lost,
        }
    }

    pub(super) fn operate(&mut self, id: JobId, op: &Operation, now: Timestamp) -> Operated {
        let Some(slot) = self.slot(id) else {
            return Operated::Missing;
        };
        let job = &self.slab.at(slot).job;
        if matches!(op, Operation::Requeue(_)) && job.state().is_terminal() {
            let key = job.spec.unique_key.clone();
            if let Some(holder) = self.key_holder(key.as_ref()) {
                return Operated::KeyTaken(holder);
            }
        }
        let done = match op {
            Operation::Edit { version, .. } => self.edit(slot, *version, op, now),
            _ => self.change(slot, now, |job| transition::operate(job, op, now)),
        };
        match (op, done) {
            (Operation::Delete, Operated::Done(_)) => self.delete(slot),
            (Operation::Cancel, Operated::Done(State::Running)) => self.waits.wake_cancelled(),
            _ => {}
        }
        done
    }

    pub(super) fn get(&mut self, id: JobId) -> Option<&Job> {
        let slot = self.slot(id)?;
        Some(&self.slab.at(slot).job)
    }

    /// The matching jobs among the next `most` ids.
    pub(super) fn list(&self, filter: &Filter, slice: &Slice, most: usize) -> Listed {
        let mut listed = Listed::default();
        let Some((least, greatest)) = slice.ids().filter(|_| slice.limit > 0) else {
            return listed;
        };
        let ids = self.ids.range(least..=greatest);
        let mut ids: Box<dyn Iterator<Item = _>> = match slice.order {
            Order::Oldest => Box::new(ids),
            Order::Newest => Box::new(ids.rev()),
        };
        for (id, slot) in ids.by_ref().take(most) {
            listed.next = Some(*id);
            let entry = Some(*slot).filter(|slot| *slot != GONE);
            let job = entry
                .and_then(|slot| self.slab.get(slot))
                .map(|entry| &entry.job);
            listed
                .jobs
                .extend(job.filter(|job| filter.fits(job)).cloned());
            if listed.jobs.len() == slice.limit {
                break;
            }
        }
        listed.next = listed.next.filter(|_| ids.next().is_some());
        listed
    }

    pub(super) fn counts(&mut self, now: Timestamp) -> Vec<QueueCounts> {
        let mut counts: BTreeMap<_, QueueCounts> = BTreeMap::new();
        for lane in self.lanes.counts(now) {
            // Lanes of several versions are one kind.
            match counts.entry((Arc::clone(&lane.queue), Arc::clone(&lane.name))) {
                Entry::Vacant(entry) => _ = entry.insert(lane),
                Entry::Occupied(mut entry) => entry.get_mut().join(&lane),
            }
        }
        counts.into_values().collect()
    }

    pub(super) fn join_ready(&mut self, queues: &[Arc<str>]) -> Wait {
        let numbers = queues.iter().map(|queue| self.lanes.queue(queue)).collect();
        self.waits.join(On::Ready(numbers))
    }

    /// `None` for a job that is over or unknown: there is no end to wait for.
    pub(super) fn join_ended(&mut self, id: JobId) -> Option<Wait> {
        let live = !self.get(id)?.state().is_terminal();
        live.then(|| self.waits.join(On::Ended(id)))
    }

    pub(super) fn join_cancelled(&mut self) -> Wait {
        self.waits.join(On::Cancelled)
    }

    /// The running jobs that were asked to end.
    pub(super) fn cancelled(&self) -> Vec<JobId> {
        let running = self.grants.all().filter_map(|slot| self.slab.get(slot));
        let asked =
            running.filter(|entry| matches!(&entry.job.phase, Phase::Running(hold) if hold.cancel));
        let asked: BTreeSet<_> = asked.map(|entry| entry.job.id).collect();
        asked.into_iter().collect()
    }

    pub(super) fn leave(&mut self, wait: &Wait) {
        self.waits.leave(wait);
    }

    #[cfg(test)]
    pub(super) fn nobody_waits(&self) -> bool {
        self.waits.is_empty()
    }

    pub(super) fn take_woken(&mut self) -> Vec<Arc<Notify>> {
        self.waits.take_woken()
    }

    /// An edit may change the version, and with it the lane.
    fn edit(&mut self, slot: Slot, version: u32, op: &Operation, now: Timestamp) -> Operated {
        let spec = Arc::clone(&self.slab.at(slot).job.spec);
        let lane = self.lanes.of(&spec.queue, &spec.name, version);
        self.change_entry(slot, now, true, |entry| {
            let done = transition::operate(&mut entry.job, op, now);
            if let Operated::Done(_) = done {
                entry.lane = lane;
            }
            done
        })
    }
}

impl Counted {
    /// Why this job can never be stored here.
    fn refuses(&self, new: &NewJob) -> Option<String> {
        let size = new.spec.metadata.len();
        if size > limits::METADATA_HARD {
            let max = limits::METADATA_HARD;
            return Some(format!(
                "metadata is {size} bytes, more than the {max} a job can have"
            ));
        }
        let Self { jobs, max } = *self;
        (jobs >= max).then(|| {
            format!(
                "the memory store is full: {max} jobs wait or run; run more dispatchers, raise \
                 `max_jobs`, or use a store on disk"
            )
        })
    }
}
