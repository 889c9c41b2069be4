//! Stored jobs that can't be read: each is reported once, and otherwise left alone.

use std::{collections::BTreeSet, sync::Mutex};

use super::core::Core;
use crate::lock::Locked;
use crate::{JobId, events::Event, job::limits};

/// The jobs reported so far, at most a batch: with more of them the whole store is damaged, and
/// further reports add nothing. Filled by `tell_unreadable`, read by `health`.
#[derive(Debug, Default)]
pub(super) struct Unreadable(Mutex<BTreeSet<JobId>>);

impl Unreadable {
    /// Whether this job should be reported; notes that it was.
    fn is_news(&self, id: JobId) -> bool {
        let mut told = self.0.locked();
        told.len() < limits::BATCH && told.insert(id)
    }

    /// How many were found; at most a batch.
    pub(super) fn count(&self) -> usize {
        self.0.locked().len()
    }
}

/// Emits an event for each new one among these, with the store's error, which says where the
/// job is.
pub(super) async fn tell_unreadable(core: &Core, ids: &[JobId]) {
    for id in ids.iter().filter(|id| core.unreadable.is_news(**id)) {
        if let Err(error) = core
            .store
            .call(|store| store.get(std::slice::from_ref(id)))
            .await
        {
            core.events.emit(Event::Unreadable {
                id: *id,
                error: &error,
            });
        }
    }
}
