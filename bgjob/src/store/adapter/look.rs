//! Calls that only look.

use std::{collections::BTreeMap, sync::Arc};

use super::{Documents, body::Body, change::Read, keys};
use crate::{
    Job, JobId, Result,
    store::{DocumentStore, Filter, QueueCount},
};

/// Documents read at once.
const PAGE: usize = 256;
/// Keys read at once.
const KEYS: usize = 4096;

impl<D: DocumentStore> Documents<D> {
    pub(super) async fn jobs(&self, ids: &[JobId]) -> Result<Vec<Option<Job>>> {
        let read = self.read(ids).await?.into_iter().zip(ids);
        read.map(|(read, id)| match read {
            Read::Job(job, _) => Ok(Some(*job)),
            Read::Unreadable => Err(self.unreadable(*id).about(*id)),
            Read::Nothing => Ok(None),
        })
        .collect()
    }

    pub(super) async fn list_fitting(
        &self,
        filter: &Filter,
        mut after: Option<JobId>,
        limit: usize,
    ) -> Result<Vec<Job>> {
        let mut found = Vec::new();
        while found.len() < limit {
            let page = self.store.list(after, PAGE).await?;
            after = page.last().map(|document| document.id);
            let whole = page.len() == PAGE;
            for document in page {
                if let Some(Body::Job(job)) = Body::read(&document)
                    && found.len() < limit
                    && filter.fits(&job)
                {
                    found.push(*job);
                }
            }
            if !whole {
                break;
            }
        }
        Ok(found)
    }

    pub(super) async fn count_all(&self) -> Result<Vec<QueueCount>> {
        let mut counts: BTreeMap<_, u64> = BTreeMap::new();
        for kind in [keys::READY, keys::LEASE, keys::PURGE] {
            let range = keys::all(kind);
            let mut after = None;
            loop {
                let page = self.store.scan(&range, after.as_ref(), KEYS).await?;
                for (queue, state) in page.iter().filter_map(|(key, _)| keys::place(key)) {
                    *counts.entry((Arc::<str>::from(queue), state)).or_default() += 1;
                }
                if page.len() < KEYS {
                    break;
                }
                after = page.into_iter().last();
            }
        }
        let count = |((queue, state), jobs)| QueueCount { queue, state, jobs };
        Ok(counts.into_iter().map(count).collect())
    }
}
