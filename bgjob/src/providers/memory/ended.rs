//! Jobs that are over, by the time of their purge, and the ids of jobs that vanished.

use std::collections::{BTreeMap, VecDeque};

use super::slab::Slot;
use crate::{JobId, Timestamp, job::transition::REMEMBERED};

/// Jobs that are purged in the same second lie in one unordered heap, so a job that ends costs no
/// ordered insert. A slot stays in its heap when an operator takes the job out of it; it is skipped
/// when its turn comes.
#[derive(Default)]
pub(super) struct Ended {
    by_second: BTreeMap<i64, Vec<Slot>>,
    /// Ids of jobs that were deleted at their end, and until when each is remembered.
    vanished: VecDeque<(Timestamp, JobId)>,
}

/// The heap a job of this `purge_at` lies in.
pub(super) const fn second(purge_at: Timestamp) -> i64 {
    purge_at.as_millis() / 1000
}

impl Ended {
    pub(super) fn push(&mut self, purge_at: Timestamp, slot: Slot) {
        self.by_second
            .entry(second(purge_at))
            .or_default()
            .push(slot);
    }

    /// The heap that is purged first, unless it is later than `until`. The caller puts it back if
    /// anything is left of it.
    pub(super) fn take_heap(&mut self, until: Timestamp) -> Option<(i64, Vec<Slot>)> {
        let heap = self.by_second.first_entry()?;
        (*heap.key() <= second(until)).then(|| heap.remove_entry())
    }

    pub(super) fn put_back(&mut self, second: i64, slots: Vec<Slot>) {
        if !slots.is_empty() {
            self.by_second.insert(second, slots);
        }
    }

    /// Remembers an id for a while. If there are more than `max`, returns the one to forget for it.
    pub(super) fn remember(&mut self, id: JobId, now: Timestamp, max: usize) -> Option<JobId> {
        self.vanished.push_back((now + REMEMBERED, id));
        let full = self.vanished.len() > max;
        full.then(|| self.vanished.pop_front())
            .flatten()
            .map(|(_, id)| id)
    }

    /// The next id that no longer needs to be remembered.
    pub(super) fn forget(&mut self, now: Timestamp) -> Option<JobId> {
        let (until, _) = self.vanished.front()?;
        if *until > now {
            return None;
        }
        self.vanished.pop_front().map(|(_, id)| id)
    }
}
