//! [`MemoryStore`]: jobs in this process's memory. It is the reference for the meaning of every
//! call.
//!
//! | | |
//! |---|---|
//! | durability | `Volatile`: jobs are gone with the process |
//! | visible to | every clone of its `Arc`, no other process |
//! | order | most urgent first, then longest due, then by id |
//! | needs a queue | no; its waits are notified |
//! | limits | 10 million live jobs, 1 million ended ones, 1 MiB of metadata each |

mod calls;
mod claim;
mod ended;
mod grants;
mod lanes;
mod slab;
mod sweep;
mod table;
mod waits;

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use async_trait::async_trait;

use self::{table::Table, waits::Wait};
use super::plain;
use crate::{
    Clock, Job, JobId, Result, SystemClock, Timestamp,
    job::{
        Grant, NewJob, Owner, Serves, limits,
        transition::{Operated, Operation, SweepPolicy},
    },
    lock::Locked,
    store::{
        Claim, Claimed, Created, Durability, Ending, Filter, Finished, JobStore, Listed,
        QueueCounts, Renewal, Renewed, Scheme, Slice, StoreCapabilities, Swept, Want,
    },
};

/// How [`JobManager::connect`](crate::JobManager::connect) opens it.
pub(super) const SCHEME: Scheme = Scheme::store("memory", |url| {
    Box::pin(async move {
        plain(url, "memory:")?;
        Ok(Arc::new(MemoryStore::new()) as Arc<dyn JobStore>)
    })
});

/// Keeps jobs in this process's memory: for tests, for trying out, and for work that may be lost
/// with the process.
///
/// It keeps typed jobs and applies the pure [transitions](crate::job::transition) under one mutex.
///
/// ```
/// use bgjob::{JobStore, providers::memory::MemoryStore};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> bgjob::Result<()> {
/// let store = MemoryStore::new();
/// assert!(store.counts().await?.is_empty());
/// # Ok(()) }
/// ```
pub struct MemoryStore {
    clock: Arc<dyn Clock>,
    /// Held for the length of one call (a page of a `list`), never across an await.
    table: Mutex<Table>,
    /// The names of workers; the last ones that gave their name are at the end.
    workers: Mutex<VecDeque<(Owner, String)>>,
}

/// How large a [`MemoryStore`] may grow.
///
/// ```
/// let store = bgjob::providers::memory::MemoryStore::builder()
///     .max_jobs(10_000)
///     .max_ended(1_000)
///     .build();
/// # drop(store);
/// ```
#[derive(Debug, Clone)]
pub struct MemoryStoreBuilder {
    clock: Arc<dyn Clock>,
    max_jobs: usize,
    max_ended: usize,
}

impl MemoryStoreBuilder {
    /// At most this many jobs that wait or run (10 million by default). Beyond that a create is
    /// rejected, so the caller learns at once that the workers do not keep up. More memory would
    /// not help, and a create that waited for room would hang.
    #[must_use]
    pub fn max_jobs(mut self, jobs: usize) -> Self {
        self.max_jobs = jobs.min(slab::MAX);
        self
    }

    /// At most this many jobs that have ended (one million by default), and as many ids of jobs
    /// that were deleted at their end. Beyond that, those nearest to their purge are forgotten
    /// early, so that the history of a busy process stays bounded.
    #[must_use]
    pub fn max_ended(mut self, jobs: usize) -> Self {
        self.max_ended = jobs.min(slab::MAX);
        self
    }

    /// Uses this clock instead of the host's.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// The store.
    pub fn build(self) -> MemoryStore {
        MemoryStore {
            clock: self.clock,
            table: Mutex::new(Table::new(self.max_jobs, self.max_ended)),
            workers: Mutex::default(),
        }
    }
}

impl MemoryStore {
    /// How many jobs one step of a `list` looks at while all other callers wait for the lock.
    const LIST_STEP: usize = 2048;

    /// An empty store that uses the host's clock.
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// An empty store that uses this clock.
    pub fn with_clock(clock: Arc<dyn Clock>) -> Self {
        Self::builder().clock(clock).build()
    }

    /// A store with limits of your own.
    pub fn builder() -> MemoryStoreBuilder {
        MemoryStoreBuilder {
            clock: Arc::new(SystemClock),
            max_jobs: 10_000_000,
            max_ended: 1_000_000,
        }
    }

    /// Runs one call on the table, releases the lock, then notifies the waiters that the call
    /// wakes.
    fn with<R>(&self, call: impl FnOnce(&mut Table, Timestamp) -> R) -> R {
        let now = self.clock.now();
        // A panic in a transition is a bug; other callers should still get their jobs.
        let mut table = self.table.locked();
        let answer = call(&mut table, now);
        let woken = table.take_woken();
        drop(table);
        for waiter in woken {
            waiter.notify_one();
        }
        answer
    }

    fn workers(&self) -> MutexGuard<'_, VecDeque<(Owner, String)>> {
        self.workers.locked()
    }

    /// Waits under the registration that `join` makes; dropping the future undoes it.
    async fn wait(&self, join: impl FnOnce(&mut Table) -> Option<Wait>) {
        struct Leave<'a>(&'a MemoryStore, Wait);
        impl Drop for Leave<'_> {
            fn drop(&mut self) {
                self.0.with(|table, _| table.leave(&self.1));
            }
        }
        if let Some(wait) = self.with(|table, _| join(table)) {
            let leave = Leave(self, wait);
            leave.1.notify.notified().await;
        }
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore")
            .field("clock", &self.clock)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl JobStore for MemoryStore {
    fn capabilities(&self) -> StoreCapabilities {
        StoreCapabilities::new("memory", Durability::Volatile)
    }

    async fn create(&self, jobs: &[NewJob]) -> Result<Vec<Created>> {
        Ok(self.with(|table, now| jobs.iter().map(|job| table.create(job, now)).collect()))
    }

    async fn claim(&self, ids: &[JobId], grant: &Grant, serves: &Serves) -> Result<Vec<Claim>> {
        Ok(self.with(|table, now| table.claim(ids, grant, serves, now)))
    }

    async fn claim_ready(&self, want: &[Want], grant: &Grant, serves: &Serves) -> Result<Claimed> {
        Ok(self.with(|table, now| table.claim_ready(want, grant, serves, now)))
    }

    async fn finish(&self, ends: &[Ending]) -> Result<Vec<Finished>> {
        Ok(self.with(|table, now| ends.iter().map(|end| table.finish(end, now)).collect()))
    }

    async fn finish_and_claim(
        &self,
        ends: &[Ending],
        want: &[Want],
        grant: &Grant,
        serves: &Serves,
    ) -> Result<(Vec<Finished>, Claimed)> {
        Ok(self.with(|table, now| {
            let finished = ends.iter().map(|end| table.finish(end, now)).collect();
            (finished, table.claim_ready(want, grant, serves, now))
        }))
    }

    async fn renew(&self, held: &[Renewal], lease: Duration) -> Result<Vec<Renewed>> {
        let renew = |table: &mut Table, now| {
            let each = held.iter().map(|held| table.renew(held, lease, now));
            each.collect()
        };
        Ok(self.with(renew))
    }

    async fn sweep(&self, limit: usize, policy: &SweepPolicy) -> Result<Vec<Swept>> {
        Ok(self.with(|table, now| table.sweep(limit, policy, now)))
    }

    async fn operate(&self, id: JobId, operation: &Operation) -> Result<Operated> {
        Ok(self.with(|table, now| table.operate(id, operation, now)))
    }

    async fn operate_many(&self, operations: &[(JobId, Operation)]) -> Result<Vec<Operated>> {
        let operate = |table: &mut Table, now| {
            let each = operations
                .iter()
                .map(|(id, op)| table.operate(*id, op, now));
            each.collect()
        };
        Ok(self.with(operate))
    }

    async fn get(&self, ids: &[JobId]) -> Result<Vec<Option<Job>>> {
        Ok(self.with(|table, _| ids.iter().map(|id| table.get(*id).cloned()).collect()))
    }

    async fn list(&self, filter: &Filter, slice: &Slice) -> Result<Listed> {
        let (mut all, mut left) = (Listed::default(), *slice);
        // In steps, so that a search for a rare job among millions blocks no other caller for long.
        for _ in 0..limits::LOOKED_AT.div_ceil(Self::LIST_STEP) {
            let page = self.with(|table, _| table.list(filter, &left, Self::LIST_STEP));
            all.jobs.extend(page.jobs);
            all.next = page.next;
            left.limit = slice.limit - all.jobs.len();
            left.after = page.next;
            if page.next.is_none() || left.limit == 0 {
                break;
            }
        }
        Ok(all)
    }

    async fn counts(&self) -> Result<Vec<QueueCounts>> {
        Ok(self.with(|table, now| table.counts(now)))
    }

    async fn name_worker(&self, owner: Owner, name: &str) -> Result<()> {
        /// Each dispatcher has one entry, and a process never has this many dispatchers.
        const MOST: usize = 1_000;
        let mut workers = self.workers();
        workers.retain(|(known, _)| *known != owner);
        workers.push_back((owner, name.to_owned()));
        if workers.len() > MOST {
            workers.pop_front();
        }
        Ok(())
    }

    async fn worker_names(&self, owners: &[Owner]) -> Result<Vec<Option<String>>> {
        let workers = self.workers();
        let name = |owner| {
            let known = workers.iter().find(|(known, _)| known == owner);
            known.map(|(_, name)| name.clone())
        };
        Ok(owners.iter().map(name).collect())
    }

    async fn purge(&self, limit: usize) -> Result<usize> {
        Ok(self.with(|table, now| table.purge(limit, now)))
    }

    async fn now(&self) -> Result<Timestamp> {
        Ok(self.clock.now())
    }

    async fn wait_ready(&self, queues: &[Arc<str>]) -> Result<()> {
        self.wait(|table| Some(table.join_ready(queues))).await;
        Ok(())
    }

    async fn wait_cancelled(&self) -> Result<()> {
        self.wait(|table| Some(table.join_cancelled())).await;
        Ok(())
    }

    async fn cancelled(&self) -> Result<Option<Vec<JobId>>> {
        Ok(Some(self.with(|table, _| table.cancelled())))
    }

    async fn wait_ended(&self, id: JobId) -> Result<()> {
        self.wait(|table| table.join_ended(id)).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
