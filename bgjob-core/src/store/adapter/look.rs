//! Calls that only look.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use super::{
    Documents,
    body::Body,
    change::Read,
    keys::{self, Counted},
};
use crate::{
    Job, JobId, Result, Timestamp,
    job::limits,
    store::{Document, DocumentStore, Filter, Listed, Order, QueueCounts, Slice},
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

    pub(super) async fn list_fitting(&self, filter: &Filter, slice: &Slice) -> Result<Listed> {
        let Some((_, greatest)) = slice.ids().filter(|_| slice.limit > 0) else {
            return Ok(Listed::default());
        };
        match slice.order {
            Order::Oldest => self.list_up(filter, slice.after, slice.limit).await,
            Order::Newest => self.list_down(filter, greatest, slice.limit).await,
        }
    }

    async fn list_up(
        &self,
        filter: &Filter,
        mut after: Option<JobId>,
        limit: usize,
    ) -> Result<Listed> {
        let (mut jobs, mut looked_at, mut bytes) = (Vec::new(), 0, 0);
        loop {
            let (page, whole) = self.list_page(after).await?;
            looked_at += page.len();
            for document in &page {
                after = Some(document.id);
                let job = fitting(document, filter);
                bytes += job.as_ref().map_or(0, Job::bytes);
                jobs.extend(job);
                if jobs.len() == limit {
                    return Ok(Listed { jobs, next: after });
                }
            }
            let enough = looked_at >= limits::LOOKED_AT || bytes >= limits::BATCH_BYTES / 2;
            if !whole || enough {
                let next = after.filter(|_| whole);
                return Ok(Listed { jobs, next });
            }
        }
    }

    /// The documents after this one, as many as are likely to fill a batch, and whether there may
    /// be more.
    async fn list_page(&self, after: Option<JobId>) -> Result<(Vec<Document>, bool)> {
        let most = self.sizes.portion().min(PAGE);
        let page = self.store.list(after, most).await?;
        self.sizes.learn(&page);
        let whole = page.len() == most;
        Ok((page, whole))
    }

    /// Documents can be listed only upwards. So this goes down in strides, and lists each stride
    /// upwards from its smallest id.
    async fn list_down(&self, filter: &Filter, greatest: JobId, limit: usize) -> Result<Listed> {
        let (mut jobs, mut looked_at) = (Vec::new(), 0);
        let mut top = Some(greatest);
        for least in strides(greatest, self.clock()) {
            let Some(greatest) = top.filter(|top| least <= *top) else {
                continue;
            };
            let wanted = limit - jobs.len();
            let (found, looked) = self.last_of(filter, least, greatest, wanted).await?;
            jobs.extend(found.into_iter().rev());
            looked_at += looked;
            if jobs.len() == limit {
                let next = jobs.last().map(|job| job.id);
                return Ok(Listed { jobs, next });
            }
            top = Slice::last(0).after(least).ids().map(|(_, below)| below);
            if looked_at >= limits::LOOKED_AT && top.is_some() {
                let next = Some(least);
                return Ok(Listed { jobs, next });
            }
        }
        Ok(Listed { jobs, next: None })
    }

    /// The last matching jobs between two ids, at most `limit`, in the order of their ids, and how
    /// many documents there are.
    async fn last_of(
        &self,
        filter: &Filter,
        least: JobId,
        greatest: JobId,
        limit: usize,
    ) -> Result<(VecDeque<Job>, usize)> {
        let (mut found, mut looked_at) = (VecDeque::new(), 0);
        let below = Slice::last(0).after(least).ids();
        let mut after = below.map(|(_, below)| below);
        loop {
            let (page, whole) = self.list_page(after).await?;
            after = page.last().map(|document| document.id);
            for document in page {
                if document.id > greatest {
                    return Ok((found, looked_at));
                }
                looked_at += 1;
                found.extend(fitting(&document, filter));
                if found.len() > limit {
                    found.pop_front();
                }
            }
            if !whole {
                return Ok((found, looked_at));
            }
        }
    }

    pub(super) async fn count_all(&self) -> Result<Vec<QueueCounts>> {
        let now = self.clock();
        let mut kinds = BTreeMap::new();
        let mut untold = Vec::new();
        for kind in [keys::READY, keys::LEASE, keys::PURGE] {
            let range = keys::all(kind);
            let mut after = None;
            loop {
                let page = self.store.scan(&range, after.as_ref(), KEYS).await?;
                for (key, id) in &page {
                    if let Some(job) = Counted::read(key) {
                        note(&mut kinds, &mut untold, &job, *id, now);
                    }
                }
                if page.len() < KEYS {
                    break;
                }
                after = page.into_iter().last();
            }
        }
        let mut counts = self.named(kinds).await?;
        for ids in untold.chunks(PAGE) {
            for (job, _) in self.read_jobs(ids).await?.into_iter().flatten() {
                let (queue, name) = (&job.spec.queue, &job.spec.name);
                let kind = (Arc::clone(queue), Arc::clone(name));
                let none = || QueueCounts::new(Arc::clone(queue), Arc::clone(name));
                counts.entry(kind).or_insert_with(none).add(job.state(), 1);
            }
        }
        Ok(counts.into_values().collect())
    }

    /// Counts by name. Keys have only a hash of the name, so a job of each kind is read. All jobs
    /// of a kind may be gone since they were counted.
    async fn named(&self, kinds: Kinds) -> Result<BTreeMap<(Arc<str>, Arc<str>), QueueCounts>> {
        let mut named = BTreeMap::new();
        let (ids, kinds): (Vec<_>, Vec<_>) = kinds.into_values().unzip();
        let flat: Vec<_> = ids.iter().flatten().copied().collect();
        let mut names = Vec::with_capacity(flat.len());
        for ids in flat.chunks(PAGE) {
            names.extend(self.read_jobs(ids).await?);
        }
        let mut names = names.into_iter();
        for (ids, mut counts) in ids.into_iter().zip(kinds) {
            let mut read = names.by_ref().take(ids.len()).flatten();
            let name = read.next().map(|(job, _)| Arc::clone(&job.spec.name));
            read.for_each(drop);
            if let Some(name) = name {
                counts.name = Arc::clone(&name);
                named.insert((Arc::clone(&counts.queue), name), counts);
            }
        }
        Ok(named)
    }
}

/// Counts by queue and hash of the name, each with the ids of some of its jobs.
type Kinds = BTreeMap<(String, u32), (VecDeque<JobId>, QueueCounts)>;

/// How many ids of each kind are noted: some jobs may be gone when they are read.
const SAMPLES: usize = 4;

fn note(kinds: &mut Kinds, untold: &mut Vec<JobId>, job: &Counted<'_>, id: JobId, now: Timestamp) {
    let Some(tag) = job.tag else {
        untold.push(id);
        return;
    };
    let none = || (VecDeque::new(), QueueCounts::new(job.queue, ""));
    let kind = (job.queue.to_owned(), tag);
    let (ids, counts) = kinds.entry(kind).or_insert_with(none);
    ids.push_back(id);
    if ids.len() > SAMPLES {
        ids.pop_front();
    }
    match job.waits {
        Some((due_at, started)) => counts.add_waiting(due_at, started, now),
        None => counts.add(job.state, 1),
    }
}

fn fitting(document: &Document, filter: &Filter) -> Option<Job> {
    match Body::read(document) {
        Some(Body::Job(job)) if filter.fits(&job) => Some(*job),
        _ => None,
    }
}

/// Ids to begin at, each further down, the last one at the smallest id: the first ids of times ever
/// longer before the time of `top`.
fn strides(top: JobId, now: Timestamp) -> impl Iterator<Item = JobId> {
    const MINUTES: [u64; 6] = [0, 1, 10, 120, 1440, 43200];
    let mut bytes = [0; 8];
    bytes[2..].copy_from_slice(&top.as_bytes()[..6]);
    let time = Timestamp::from_millis(i64::from_be_bytes(bytes)).min(now);
    let before = MINUTES.into_iter().map(move |minutes| {
        let at = time.as_millis().saturating_sub_unsigned(minutes * 60_000);
        let mut id = [0; 16];
        id[..6].copy_from_slice(&at.max(0).to_be_bytes()[2..]);
        JobId::from_bytes(id)
    });
    before.chain([JobId::from_bytes([0; 16])])
}
