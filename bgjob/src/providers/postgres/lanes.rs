//! Lanes: queue, name and version of jobs, interned.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use crate::job::{JobSpec, Serves};

/// All that decides who may claim a job.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Lane {
    pub(super) queue: Arc<str>,
    pub(super) name: Arc<str>,
    pub(super) version: u32,
}

impl Lane {
    pub(super) fn of(spec: &JobSpec) -> Self {
        Self {
            queue: Arc::clone(&spec.queue),
            name: Arc::clone(&spec.name),
            version: spec.version,
        }
    }
}

/// A process's copy of the table of lanes. Rows are only ever added there, so a copy can be behind,
/// never wrong.
#[derive(Debug, Default)]
pub(super) struct Lanes(RwLock<Known>);

#[derive(Debug, Default)]
struct Known {
    by_id: HashMap<i32, Lane>,
    ids: HashMap<Lane, i32>,
}

impl Lanes {
    /// How many are known.
    pub(super) fn count(&self) -> usize {
        self.read(|known| known.by_id.len())
    }

    pub(super) fn get(&self, id: i32) -> Option<Lane> {
        self.read(|known| known.by_id.get(&id).cloned())
    }

    pub(super) fn id(&self, lane: &Lane) -> Option<i32> {
        self.read(|known| known.ids.get(lane).copied())
    }

    /// The lanes of a queue that can be run.
    pub(super) fn served(&self, queue: &str, serves: &Serves) -> Vec<i32> {
        let fits = |lane: &Lane| &*lane.queue == queue && serves.can_run(&lane.name, lane.version);
        self.read(|known| {
            let served = known.by_id.iter().filter(|(_, lane)| fits(lane));
            served.map(|(id, _)| *id).collect()
        })
    }

    /// The lanes that fit what is asked for.
    pub(super) fn such(&self, fits: impl Fn(&Lane) -> bool) -> Vec<i32> {
        self.read(|known| {
            let such = known.by_id.iter().filter(|(_, lane)| fits(lane));
            such.map(|(id, _)| *id).collect()
        })
    }

    /// Learns of lanes.
    pub(super) fn keep(&self, lanes: impl IntoIterator<Item = (i32, Lane)>) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for (id, lane) in lanes {
            known.ids.insert(lane.clone(), id);
            known.by_id.insert(id, lane);
        }
    }

    fn read<T>(&self, look: impl FnOnce(&Known) -> T) -> T {
        look(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}
