//! Stored jobs that can't be read: each is told once, and left alone.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

use super::core::Core;
use crate::{JobId, events::Event, job::limits};

/// Those that were told. Beyond a batch of them the store as a whole is damaged, and no news.
#[derive(Debug, Default)]
pub(super) struct Unreadable(Mutex<BTreeSet<JobId>>);

impl Unreadable {
    /// Whether it is to be told.
    fn is_news(&self, id: JobId) -> bool {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.len() < limits::BATCH && told.insert(id)
    }

    /// How many there are, as far as is known.
    pub(super) fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

impl Core {
    /// Says where the new ones among these are, as far as the store does.
    pub(super) async fn tell_unreadable(&self, ids: &[JobId]) {
        for id in ids.iter().filter(|id| self.unreadable.is_news(**id)) {
            if let Err(error) = self
                .store_call(|| self.store.get(std::slice::from_ref(id)))
                .await
            {
                self.events.emit(Event::Unreadable {
                    id: *id,
                    error: &error,
                });
            }
        }
    }
}
