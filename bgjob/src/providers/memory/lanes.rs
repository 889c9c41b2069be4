//! The order of waiting jobs.
//!
//! Jobs of one queue, name and version wait in one lane, suspects on a side of their own. So a
//! claim merges the served lanes and never walks over a job it can't have. Jobs that are not due
//! yet wait apart, at no cost to the others.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, HashMap},
    sync::Arc,
};

use super::slab::Slot;
use crate::{
    JobId, Priority, Timestamp,
    job::{Serves, State},
    store::QueueCounts,
};

/// Most urgent, then longest due, then by id.
type Rank = (u8, Timestamp, JobId);

#[derive(Default)]
pub(super) struct Lanes {
    queues: Vec<Queue>,
    by_queue: HashMap<Arc<str>, u32>,
    lanes: Vec<Lane>,
    /// The lane that was asked for last: most jobs are of the same kind as the one before.
    last: u32,
    /// Numbers of forgotten lanes and queues, for reuse.
    free_lanes: Vec<u32>,
    free_queues: Vec<u32>,
    /// With more lanes than this, lanes without a job are searched for and forgotten.
    many: usize,
}

/// This many lanes may exist without use. They cost next to nothing.
const SPARE: usize = 1000;

struct Queue {
    name: Arc<str>,
    lanes: Vec<u32>,
    by_name: HashMap<Arc<str>, Vec<u32>>,
}

struct Lane {
    queue: u32,
    name: Arc<str>,
    version: u32,
    /// Jobs by state.
    jobs: [u64; State::ALL.len()],
    /// Jobs that are not suspects, and suspects.
    sides: [Side; 2],
}

#[derive(Default)]
struct Side {
    ready: BTreeMap<Rank, Slot>,
    /// Jobs that were not due yet when they were put here.
    later: BTreeMap<(Timestamp, JobId), Later>,
    /// How many of `later` have been started before.
    started: u64,
}

struct Later {
    slot: Slot,
    priority: Priority,
    started: bool,
}

/// A ready job's place among the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ReadyPlace {
    pub(super) lane: u32,
    pub(super) suspect: bool,
    pub(super) priority: Priority,
    pub(super) due_at: Timestamp,
    /// Whether a dispatcher has held it before.
    pub(super) started: bool,
}

/// A side of a lane, while a claim takes from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct LaneSide {
    lane: u32,
    suspect: bool,
}

/// The served lanes of one queue, merged.
pub(super) struct Merge {
    sources: Vec<LaneSide>,
    heads: BinaryHeap<Reverse<(Rank, LaneSide)>>,
}

impl Lanes {
    /// The number of this queue; a new number if the queue is not known.
    pub(super) fn queue(&mut self, name: &Arc<str>) -> u32 {
        if let Some(number) = self.by_queue.get(name) {
            return *number;
        }
        let queue = Queue {
            name: Arc::clone(name),
            lanes: Vec::new(),
            by_name: HashMap::new(),
        };
        let number = put(&mut self.queues, &mut self.free_queues, queue);
        self.by_queue.insert(Arc::clone(name), number);
        number
    }

    /// The lane in which jobs of this kind wait.
    pub(super) fn of(&mut self, queue: &Arc<str>, name: &Arc<str>, version: u32) -> u32 {
        // Jobs of one kind share their names, so comparing pointers is enough.
        if let Some(lane) = self.lanes.get(self.last as usize)
            && lane.version == version
            && Arc::ptr_eq(&lane.name, name)
            && Arc::ptr_eq(&self.queues[lane.queue as usize].name, queue)
        {
            return self.last;
        }
        self.last = self.find(queue, name, version);
        self.last
    }

    fn find(&mut self, queue: &Arc<str>, name: &Arc<str>, version: u32) -> u32 {
        let number = self.queue(queue);
        let queue = &mut self.queues[number as usize];
        if let Some(versions) = queue.by_name.get(name) {
            let same = |lane: &&u32| self.lanes[**lane as usize].version == version;
            if let Some(lane) = versions.iter().find(same) {
                return *lane;
            }
        }
        let new = Lane {
            queue: number,
            name: Arc::clone(name),
            version,
            jobs: [0; State::ALL.len()],
            sides: Default::default(),
        };
        let lane = put(&mut self.lanes, &mut self.free_lanes, new);
        let versions = queue.by_name.entry(Arc::clone(name)).or_default();
        versions.push(lane);
        queue.lanes.push(lane);
        lane
    }

    /// Where there are many lanes, forgets those without a job, and queues that have no lanes left
    /// and that no caller waits for.
    pub(super) fn forget(&mut self, is_awaited: impl Fn(u32) -> bool) {
        if self.lanes.len() - self.free_lanes.len() <= self.many.max(SPARE) {
            return;
        }
        // What was asked for last may be among them.
        self.last = u32::MAX;
        let Self { queues, lanes, .. } = self;
        let is_used = |lane: &u32| lanes[*lane as usize].jobs.iter().any(|jobs| *jobs > 0);
        for number in self.by_queue.values() {
            let queue = &mut queues[*number as usize];
            self.free_lanes
                .extend(queue.lanes.iter().filter(|lane| !is_used(lane)));
            queue.lanes.retain(is_used);
            queue.by_name.retain(|_, versions| {
                versions.retain(is_used);
                !versions.is_empty()
            });
        }
        let free = &mut self.free_queues;
        self.by_queue.retain(|_, number| {
            let is_used = !queues[*number as usize].lanes.is_empty() || is_awaited(*number);
            free.extend((!is_used).then_some(*number));
            is_used
        });
        self.many = 2 * (self.lanes.len() - self.free_lanes.len());
    }

    /// How many lanes and queues there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> (usize, usize) {
        (
            self.lanes.len() - self.free_lanes.len(),
            self.by_queue.len(),
        )
    }

    pub(super) fn queue_of(&self, lane: u32) -> u32 {
        self.lanes[lane as usize].queue
    }

    /// Puts a ready job in its place. Returns whether waiting claimers must be notified.
    pub(super) fn insert(&mut self, w: ReadyPlace, id: JobId, slot: Slot, now: Timestamp) -> bool {
        let side = &mut self.lanes[w.lane as usize].sides[usize::from(w.suspect)];
        if w.due_at <= now {
            side.ready.insert((w.priority.rank(), w.due_at, id), slot);
            return true;
        }
        let place = (w.due_at, id);
        let (priority, started) = (w.priority, w.started);
        side.started += u64::from(started);
        let later = Later {
            slot,
            priority,
            started,
        };
        side.later.insert(place, later);
        // A claimer that waits for the next due time has to learn that this job is due sooner.
        side.later
            .first_key_value()
            .is_some_and(|(first, _)| *first == place)
    }

    pub(super) fn remove(&mut self, w: ReadyPlace, id: JobId) {
        let side = &mut self.lanes[w.lane as usize].sides[usize::from(w.suspect)];
        match side.later.remove(&(w.due_at, id)) {
            Some(later) => side.started -= u64::from(later.started),
            None => _ = side.ready.remove(&(w.priority.rank(), w.due_at, id)),
        }
    }

    /// Opens the served lanes of a queue for a claim.
    pub(super) fn merge(&mut self, queue: &str, serves: &Serves, now: Timestamp) -> Merge {
        let mut merge = Merge {
            sources: Vec::new(),
            heads: BinaryHeap::new(),
        };
        let Some(number) = self.by_queue.get(queue) else {
            return merge;
        };
        for lane in self.queues[*number as usize].such(serves) {
            let Lane {
                name,
                version,
                sides,
                ..
            } = &mut self.lanes[lane as usize];
            if !serves.can_run(name, *version) {
                continue;
            }
            for (suspect, side) in [false, true].into_iter().zip(sides) {
                if suspect && !serves.suspect {
                    continue;
                }
                side.promote(now);
                let source = LaneSide { lane, suspect };
                merge.sources.push(source);
                merge.heads.extend(side.head(source));
            }
        }
        merge
    }

    /// Takes the next job out of its lane.
    pub(super) fn pop(&mut self, merge: &mut Merge, suspect: bool) -> Option<Slot> {
        loop {
            let Reverse((_, source)) = merge.heads.pop()?;
            if source.suspect && !suspect {
                continue;
            }
            let side = self.side(source);
            let (_, slot) = side
                .ready
                .pop_first()
                .expect("a head is the first of its side");
            let head = side.head(source);
            merge.heads.extend(head);
            return Some(slot);
        }
    }

    /// Whether a claim left ready jobs behind, and when the next one is due.
    pub(super) fn rest(&mut self, merge: &Merge) -> (bool, Option<Timestamp>) {
        let mut ready = false;
        let mut next = None;
        for source in &merge.sources {
            let side = self.side(*source);
            ready |= !side.ready.is_empty();
            if let Some((&(due_at, _), _)) = side.later.first_key_value() {
                next = Some(next.map_or(due_at, |next: Timestamp| next.min(due_at)));
            }
        }
        (ready, next)
    }

    /// Notes that a job of this lane changed its state.
    pub(super) fn count(&mut self, lane: u32, from: Option<State>, to: Option<State>) {
        let jobs = &mut self.lanes[lane as usize].jobs;
        if let Some(state) = from {
            jobs[state as usize] -= 1;
        }
        if let Some(state) = to {
            jobs[state as usize] += 1;
        }
    }

    /// How many jobs each lane has, without empty lanes.
    pub(super) fn counts(&mut self, now: Timestamp) -> Vec<QueueCounts> {
        let queues = &self.queues;
        let lanes = self.lanes.iter_mut();
        let some = lanes.filter(|lane| lane.jobs.iter().any(|jobs| *jobs > 0));
        let of = some.map(|lane| {
            let queue = Arc::clone(&queues[lane.queue as usize].name);
            lane.counts(queue, now)
        });
        of.collect()
    }

    fn side(&mut self, source: LaneSide) -> &mut Side {
        &mut self.lanes[source.lane as usize].sides[usize::from(source.suspect)]
    }
}

impl Lane {
    fn counts(&mut self, queue: Arc<str>, now: Timestamp) -> QueueCounts {
        let mut counts = QueueCounts::new(queue, Arc::clone(&self.name));
        for state in State::ALL
            .into_iter()
            .filter(|state| *state != State::Ready)
        {
            counts.add(state, self.jobs[state as usize]);
        }
        for side in &mut self.sides {
            side.promote(now);
            counts.backing_off += side.started;
            counts.delayed += side.later.len() as u64 - side.started;
            for rank in Priority::ALL.map(Priority::rank) {
                let from = (rank, Timestamp::MIN, JobId::from_bytes([0; 16]));
                let first = side.ready.range(from..).next();
                if let Some(((_, due_at, _), _)) = first.filter(|(place, _)| place.0 == rank) {
                    counts.is_due_since(*due_at, now);
                }
            }
        }
        // Jobs that are too late, and wait for the sweeper, may have left their side.
        counts.due = self.jobs[State::Ready as usize] - counts.waiting();
        counts
    }
}

impl Queue {
    /// Its lanes. If it has more lanes than names are served, only those with a served name.
    fn such(&self, serves: &Serves) -> Vec<u32> {
        if self.lanes.len() <= serves.jobs.len() {
            return self.lanes.clone();
        }
        let names = serves.jobs.keys();
        let versions = names.filter_map(|name| self.by_name.get(name));
        versions.flatten().copied().collect()
    }
}

/// Puts something in a free place. Returns the place.
fn put<T>(all: &mut Vec<T>, free: &mut Vec<u32>, new: T) -> u32 {
    if let Some(number) = free.pop() {
        all[number as usize] = new;
        return number;
    }
    all.push(new);
    (all.len() - 1) as u32
}

impl Side {
    fn promote(&mut self, now: Timestamp) {
        while let Some(first) = self.later.first_entry()
            && first.key().0 <= now
        {
            let ((due_at, id), later) = first.remove_entry();
            self.started -= u64::from(later.started);
            let place = (later.priority.rank(), due_at, id);
            self.ready.insert(place, later.slot);
        }
    }

    fn head(&self, source: LaneSide) -> Option<Reverse<(Rank, LaneSide)>> {
        let (place, _) = self.ready.first_key_value()?;
        Some(Reverse((*place, source)))
    }
}
