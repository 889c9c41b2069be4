//! [`Below`]: the one store below all processes, and each process's view of it.

use std::{sync::Arc, time::Duration};

use super::{truth::Truth, witness::Witness};
use crate::{
    Clock, JobStore,
    providers::memory::MemoryStore,
    store::{ClockSource, Documents, StoreCapabilities},
    testing::{Faults, Faulty, MemoryDocuments},
};

/// The store. A [`Truth`] sees its changes.
pub(super) enum Below {
    Jobs(Arc<Witness<MemoryStore>>, StoreCapabilities),
    Documents(Arc<MemoryDocuments>),
}

impl Below {
    /// A store of jobs. It declares from how many ends on it records them beside a claim.
    pub(super) fn jobs(
        clock: Arc<dyn Clock>,
        finish_beside: Option<usize>,
        truth: Arc<Truth>,
    ) -> Self {
        let store = MemoryStore::with_clock(clock);
        let mut can = store.capabilities();
        can.finish_beside = finish_beside;
        Self::Jobs(Arc::new(Witness::new(store, truth)), can)
    }

    /// A store of documents. Each process has its own adapter, which makes jobs of them.
    pub(super) fn documents(
        clock: Arc<dyn Clock>,
        clocks_off: Duration,
        truth: Arc<Truth>,
    ) -> Self {
        let source = if clocks_off.is_zero() {
            ClockSource::Store
        } else {
            ClockSource::Client
        };
        let real = Arc::clone(&clock);
        let watch = move |id, document: Option<&_>| truth.written(id, document, real.now());
        let documents = MemoryDocuments::watched(clock, source, Box::new(watch));
        Self::Documents(Arc::new(documents))
    }

    /// The store as a process sees it.
    pub(super) fn store(&self, faults: Faults) -> Arc<dyn JobStore> {
        match self {
            Self::Jobs(store, can) => {
                let faulty = Faulty::shared(Arc::clone(store)).with_faults(faults);
                Arc::new(faulty.declaring(can.clone()))
            }
            Self::Documents(documents) => {
                let faulty = Faulty::shared(Arc::clone(documents)).with_faults(faults);
                Arc::new(Documents::new(faulty))
            }
        }
    }
}
