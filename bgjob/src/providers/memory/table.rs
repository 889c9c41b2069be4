//! [`Table`]: the jobs and the indices they are found by.
//!
//! Every change of a job is a pure transition between two looks at its [`Place`]. Where the places
//! differ, the job is taken out of the indices of the old place and put into those of the new one.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{
    ended::Ended,
    grants::Tokens,
    lanes::{Lanes, ReadyPlace},
    slab::{Entry, Slab, Slot},
    waits::Waits,
};
use crate::{
    Job, JobId, Timestamp,
    job::{Phase, State, Token, transition},
};

/// The slot of a job that vanished at its end, while its id is remembered.
pub(super) const GONE: Slot = Slot::MAX;

pub(super) struct Table {
    pub(super) slab: Slab,
    /// By id. Ordered, for `list`. Ids of one process grow, so jobs made at the same time are
    /// neighbours here; that makes the map as fast as a hash map of this size.
    pub(super) ids: BTreeMap<JobId, Slot>,
    pub(super) lanes: Lanes,
    pub(super) grants: Tokens,
    pub(super) ended: Ended,
    /// Unique keys of jobs that are not over.
    pub(super) keys: HashMap<String, JobId>,
    /// Ready jobs that have an `expires` or a `deadline`, by the first of them.
    pub(super) limits: BTreeSet<(Timestamp, Slot)>,
    /// Ready jobs by their next touch. Built when the first sweep asks for touches.
    pub(super) touches: Option<BTreeSet<(Timestamp, Slot)>>,
    pub(super) waits: Waits,
    pub(super) live: Counted,
    pub(super) over: Counted,
}

/// How many jobs there are, and how many there may be.
pub(super) struct Counted {
    pub(super) jobs: usize,
    pub(super) max: usize,
}

/// Which indices a job is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Ready {
        waiting: ReadyPlace,
        limit: Option<Timestamp>,
        touch_at: Timestamp,
    },
    Running(Token),
    Ended(Timestamp),
}

impl Entry {
    pub(super) fn place(&self) -> Place {
        let job = &self.job;
        match &job.phase {
            Phase::Ready { touch_at } => Place::Ready {
                waiting: ReadyPlace {
                    lane: self.lane,
                    suspect: job.is_suspect(),
                    priority: job.spec.priority,
                    due_at: job.due_at,
                    started: job.has_started(),
                },
                limit: job.expires_at.into_iter().chain(job.deadline_at).min(),
                touch_at: *touch_at,
            },
            Phase::Running(hold) => Place::Running(hold.token),
            Phase::Ended(end) => Place::Ended(end.purge_at),
        }
    }
}

impl Table {
    pub(super) fn new(max_jobs: usize, max_ended: usize) -> Self {
        let counted = |max| Counted { jobs: 0, max };
        Self {
            slab: Slab::default(),
            ids: BTreeMap::new(),
            lanes: Lanes::default(),
            grants: Tokens::default(),
            ended: Ended::default(),
            keys: HashMap::new(),
            limits: BTreeSet::new(),
            touches: None,
            waits: Waits::default(),
            live: counted(max_jobs),
            over: counted(max_ended),
        }
    }

    pub(super) fn slot(&self, id: JobId) -> Option<Slot> {
        let slot = self.ids.get(&id).copied();
        slot.filter(|slot| *slot != GONE)
    }

    /// The live job that has this unique key.
    pub(super) fn key_holder(&self, key: Option<&String>) -> Option<JobId> {
        self.keys.get(key?).copied()
    }

    /// Applies a transition and moves the job to the indices where it belongs afterwards.
    pub(super) fn change<R>(
        &mut self,
        slot: Slot,
        now: Timestamp,
        transition: impl FnOnce(&mut Job) -> R,
    ) -> R {
        self.change_entry(slot, now, true, |entry| transition(&mut entry.job))
    }

    /// The same, also for a job that a claim has already taken out of its lane (not `in_lane`).
    pub(super) fn change_entry<R>(
        &mut self,
        slot: Slot,
        now: Timestamp,
        in_lane: bool,
        transition: impl FnOnce(&mut Entry) -> R,
    ) -> R {
        let entry = self.slab.at(slot);
        let (before, from, was) = (entry.place(), entry.job.state(), entry.lane);
        let answer = transition(entry);
        let (after, to) = (entry.place(), entry.job.state());
        if before != after {
            let (id, lane) = (entry.job.id, entry.lane);
            self.take_out(before, id, slot, in_lane);
            if was != lane {
                self.lanes.count(was, Some(from), None);
                self.lanes.count(lane, None, Some(to));
            } else if from != to {
                self.lanes.count(lane, Some(from), Some(to));
            }
            if from != to {
                self.tally(from, to);
            }
            self.put_in(after, slot, now);
        }
        answer
    }

    /// Deletes a job that is over.
    pub(super) fn delete(&mut self, slot: Slot) {
        let id = self.remove(slot).id;
        self.ids.remove(&id);
    }

    fn remove(&mut self, slot: Slot) -> Job {
        let Entry { job, lane } = self.slab.remove(slot);
        self.lanes.count(lane, Some(job.state()), None);
        self.over.jobs -= 1;
        job
    }

    fn take_out(&mut self, place: Place, id: JobId, slot: Slot, in_lane: bool) {
        match place {
            Place::Ready {
                waiting,
                limit,
                touch_at,
            } => {
                if in_lane {
                    self.lanes.remove(waiting, id);
                }
                if let Some(limit) = limit {
                    self.limits.remove(&(limit, slot));
                }
                if let Some(touches) = &mut self.touches {
                    touches.remove(&(touch_at, slot));
                }
            }
            Place::Running(token) => self.grants.leave(token),
            // Its heap skips jobs that are no longer over.
            Place::Ended(_) => {}
        }
    }

    pub(super) fn put_in(&mut self, place: Place, slot: Slot, now: Timestamp) {
        let job = &self.slab.at(slot).job;
        match place {
            Place::Ready {
                waiting,
                limit,
                touch_at,
            } => {
                if let Some(key) = &job.spec.unique_key {
                    self.keys.insert(key.clone(), job.id);
                }
                if self.lanes.insert(waiting, job.id, slot, now) {
                    self.waits.wake_ready(self.lanes.queue_of(waiting.lane));
                }
                self.limits.extend(limit.map(|limit| (limit, slot)));
                if let Some(touches) = &mut self.touches {
                    touches.insert((touch_at, slot));
                }
            }
            Place::Running(token) => {
                if let Phase::Running(hold) = &job.phase {
                    self.grants.join(token, slot, hold.lease_until);
                }
            }
            Place::Ended(purge_at) => {
                if let Some(key) = &job.spec.unique_key {
                    self.keys.remove(key);
                }
                self.waits.wake_ended(job.id);
                if transition::vanishes(job) {
                    let id = self.remove(slot).id;
                    // In place: the id keeps its entry.
                    self.ids.entry(id).and_modify(|slot| *slot = GONE);
                    if let Some(oldest) = self.ended.remember(id, now, self.over.max) {
                        self.ids.remove(&oldest);
                    }
                } else {
                    self.ended.push(purge_at, slot);
                    self.evict();
                }
            }
        }
    }

    fn tally(&mut self, from: State, to: State) {
        match (from.is_terminal(), to.is_terminal()) {
            (false, true) => {
                self.live.jobs -= 1;
                self.over.jobs += 1;
            }
            (true, false) => {
                self.over.jobs -= 1;
                self.live.jobs += 1;
            }
            _ => {}
        }
    }
}
