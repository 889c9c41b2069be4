//! [`Slab`]: jobs at places that stay the same while they live.

use crate::Job;

/// Where a job is kept. Smaller than an id, and found without a search.
pub(super) type Slot = u32;

/// More than any memory holds; the highest slot is left for [`GONE`](super::table::GONE).
pub(super) const MAX: usize = u32::MAX as usize - 1;

/// A job and the lane it waits in when it is ready.
pub(super) struct Entry {
    pub(super) job: Job,
    pub(super) lane: u32,
}

#[derive(Default)]
pub(super) struct Slab {
    entries: Vec<Option<Entry>>,
    free: Vec<Slot>,
}

impl Slab {
    pub(super) fn insert(&mut self, entry: Entry) -> Slot {
        if let Some(slot) = self.free.pop() {
            self.entries[slot as usize] = Some(entry);
            return slot;
        }
        self.entries.push(Some(entry));
        Slot::try_from(self.entries.len() - 1).expect("limits keep slots below MAX")
    }

    pub(super) fn remove(&mut self, slot: Slot) -> Entry {
        self.free.push(slot);
        let entry = self.entries[slot as usize].take();
        entry.expect("an index names only slots that are taken")
    }

    pub(super) fn get(&self, slot: Slot) -> Option<&Entry> {
        self.entries[slot as usize].as_ref()
    }

    pub(super) fn at(&mut self, slot: Slot) -> &mut Entry {
        let entry = self.entries[slot as usize].as_mut();
        entry.expect("an index names only slots that are taken")
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Slot, &Entry)> {
        let taken = |(slot, entry)| Some((slot as Slot, Option::as_ref(entry)?));
        self.entries.iter().enumerate().filter_map(taken)
    }
}
