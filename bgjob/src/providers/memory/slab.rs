//! [`Slab`]: jobs at places that stay the same while the jobs live.

use crate::Job;

/// Where a job is kept. Smaller than an id, and found without a search.
pub(super) type Slot = u32;

/// More jobs than any memory holds. The highest slot is reserved for [`GONE`](super::table::GONE).
pub(super) const MAX: usize = u32::MAX as usize - 1;

/// A job and the lane it waits in when it is ready.
pub(super) struct Entry {
    pub(super) job: Job,
    pub(super) lane: u32,
}

/// How many entries room is made for at a time. One growing vector would copy a million jobs
/// whenever it doubles, while all other callers wait for the lock.
const CHUNK: usize = 1024;

#[derive(Default)]
pub(super) struct Slab {
    chunks: Vec<Vec<Option<Entry>>>,
    free: Vec<Slot>,
}

impl Slab {
    pub(super) fn insert(&mut self, entry: Entry) -> Slot {
        if let Some(slot) = self.free.pop() {
            *self.place(slot) = Some(entry);
            return slot;
        }
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        let before = (self.chunks.len() - 1) * CHUNK;
        let chunk = self.chunks.last_mut().expect("there is one with room");
        chunk.push(Some(entry));
        Slot::try_from(before + chunk.len() - 1).expect("limits keep slots below MAX")
    }

    fn place(&mut self, slot: Slot) -> &mut Option<Entry> {
        &mut self.chunks[slot as usize / CHUNK][slot as usize % CHUNK]
    }

    pub(super) fn remove(&mut self, slot: Slot) -> Entry {
        self.free.push(slot);
        let entry = self.place(slot).take();
        entry.expect("an index names only slots that are taken")
    }

    pub(super) fn get(&self, slot: Slot) -> Option<&Entry> {
        self.chunks[slot as usize / CHUNK][slot as usize % CHUNK].as_ref()
    }

    pub(super) fn at(&mut self, slot: Slot) -> &mut Entry {
        let entry = self.place(slot).as_mut();
        entry.expect("an index names only slots that are taken")
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Slot, &Entry)> {
        let taken = |(slot, entry)| Some((slot as Slot, Option::as_ref(entry)?));
        self.chunks.iter().flatten().enumerate().filter_map(taken)
    }
}
