//! [`Documents`]: any [`DocumentStore`] as a full [`JobStore`].

mod body;
mod change;
mod claim;
mod create;
mod guard;
mod keys;
mod look;
mod operate;
mod sizes;
mod stored;
mod sweep;
mod waits;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;

use super::{
    Claim, Claimed, Created, DocumentStore, Ending, Filter, Finished, JobStore, Listed,
    QueueCounts, Renewal, Renewed, Slice, StoreCapabilities, Swept, Want,
};
use crate::{
    Error, ErrorKind, Job, JobId, Result, Timestamp, entropy,
    job::{
        Grant, NewJob, Serves,
        transition::{self, Operated, Operation, SweepPolicy},
    },
};
#[doc(hidden)]
pub use body::Body;
use sizes::Sizes;
use waits::Wakes;

/// Any [`DocumentStore`] as a full [`JobStore`]. It reads documents, applies the
/// [transitions](crate::job::transition) and replaces by version. Where another writer was faster,
/// it starts over.
///
/// ```
/// use bgjob::{JobManager, store::{DocumentStore, Documents}};
///
/// fn connect(documents: impl DocumentStore + 'static) -> bgjob::Result<JobManager> {
///     JobManager::builder(Documents::new(documents)).build()
/// }
/// # let _ = |documents: std::sync::Arc<dyn DocumentStore>| connect(documents);
/// ```
///
/// # What it costs
///
/// Calls of the underlying store, for a batch of any size that nobody else changes at the same
/// time. Large documents take several gets and replaces of about 4 MiB each; the sizes of the last
/// documents decide.
///
/// | call | reads | writes |
/// |---|---|---|
/// | create | – | 1 insert (unique keys, one by one: 3 gets, 3 writes) |
/// | claim | 1 get | 1 replace |
/// | claim_ready | 4 scans a queue, 1 get | 1 replace |
/// | finish, renew | 1 get | 1 replace |
/// | sweep | 2 scans (3 with a queue), 1 get for each that finds something | 1 replace each |
/// | operate | 1 get | 1 replace |
/// | purge | 2 scans, 1 get | 1 delete |
/// | list | as many documents as are passed over; newest first, also those around them | – |
/// | counts | scans of all keys, and 1 get | – |
///
/// So a job that runs once is written three times and read twice, in batches that it shares with
/// others. Each retry adds two of both, each renewal one. A `claim_ready` scans 256 keys at a time
/// for each of the four priorities. Jobs that it does not serve are passed over by their keys,
/// without being read. A claim that is repeated after a lost answer reads all running jobs.
///
/// # Conflicts
///
/// Where others change the same documents (several dispatchers that claim from one queue), only the
/// elements that lost are read and written again, one round each. A claim leaves a job that another
/// claimer has, goes on to the next, and scans once more if it found less than was wanted. Elements
/// of one batch that name the same job take turns. After two rounds without any success there is a
/// random wait before the next, of 64 ms at most. After 50 rounds without any success the call
/// fails with `Unavailable`: nothing is lost, and the caller repeats the call.
///
/// # What is stored
///
/// The bodies are JSON and stable. `{"job": …}` is a [`Job`] in its serde form, `{"gone": …}` the
/// id of a job that was deleted at its end, `{"void": …}` a job that is about to be created, and
/// `{"key": …}` says which job has a unique key. Each document is filed under:
///
/// | key | what |
/// |---|---|
/// | `r,queue,rank,due,name,version,suspect` | a waiting job |
/// | the same and `,1` | one that was started before |
/// | `t,time` | a waiting job, by when it is hinted at next |
/// | `x,time` | a waiting job, by when it expires |
/// | `l,time,queue,name` | a running job, by the end of its lease |
/// | `p,time,queue,state,name`; `p,time` | a job that is over, or an id, by when it may be purged |
/// | `k,time` | a unique key, by when it is checked whether its job still lives |
///
/// `rank` is 0 for the most urgent. Times are twelve hexadecimal digits of milliseconds. `name` is
/// eight digits of a hash, so that a claim passes over jobs it can't run without reading them.
#[derive(Debug)]
pub struct Documents<D> {
    store: D,
    waits: Wakes,
    sizes: Sizes,
}

impl<D: DocumentStore> Documents<D> {
    /// Rounds without any success before a call gives up.
    const ROUNDS: u32 = 50;

    /// Keeps jobs in this store.
    pub fn new(store: D) -> Self {
        Self {
            store,
            waits: Wakes::default(),
            sizes: Sizes::default(),
        }
    }

    /// The underlying store.
    pub fn store(&self) -> &D {
        &self.store
    }

    fn clock(&self) -> Timestamp {
        self.store.clock().now()
    }

    /// Lets others go first after the first few rounds without success. The wait grows and is
    /// random, because two callers that run in step could block each other for ever.
    async fn give_way(round: u32) {
        if let Some(grown) = round.checked_sub(2) {
            let most = f64::from(1 << grown.min(6));
            let wait = Duration::from_secs_f64(most * entropy::unit() / 1000.0);
            tokio::time::sleep(wait).await;
        }
    }

    fn contended(&self) -> Error {
        let message = "others change the same jobs all the time: try again";
        Error::new(ErrorKind::Unavailable, message).with("store", self.store.capabilities().name)
    }
}

#[async_trait]
impl<D: DocumentStore> JobStore for Documents<D> {
    fn capabilities(&self) -> StoreCapabilities {
        let can = self.store.capabilities();
        StoreCapabilities {
            clock: can.clock,
            wakes: !can.shared,
            max_document: can.max_metadata,
            ..StoreCapabilities::new(can.name, can.durability)
        }
    }

    async fn create(&self, jobs: &[NewJob]) -> Result<Vec<Created>> {
        self.create_all(jobs).await
    }

    async fn claim(&self, ids: &[JobId], grant: &Grant, serves: &Serves) -> Result<Vec<Claim>> {
        self.claim_ids(ids, grant, serves).await
    }

    async fn claim_ready(&self, want: &[Want], grant: &Grant, serves: &Serves) -> Result<Claimed> {
        self.claim_scanned(want, grant, serves).await
    }

    async fn finish(&self, ends: &[Ending]) -> Result<Vec<Finished>> {
        let now = self.clock();
        let finish = |ending: &Ending, job: &mut Job| {
            let state = transition::finish(job, ending.token, &ending.end, now);
            (
                state.map_or(Finished::Lost, Finished::Applied),
                state.is_some(),
            )
        };
        let finished = self.change(ends, |ending| ending.id, finish).await?;
        Ok(finished
            .into_iter()
            .map(|end| end.unwrap_or(Finished::Lost))
            .collect())
    }

    async fn renew(&self, held: &[Renewal], lease: Duration) -> Result<Vec<Renewed>> {
        let now = self.clock();
        let renew = |held: &Renewal, job: &mut Job| match transition::renew(
            job,
            held.token,
            held.progress.as_ref(),
            lease,
            now,
        ) {
            Some(cancel) => (Renewed::Renewed { cancel }, true),
            None => (Renewed::Lost, false),
        };
        let renewed = self.change(held, |held| held.id, renew).await?;
        Ok(renewed
            .into_iter()
            .map(|one| one.unwrap_or(Renewed::Lost))
            .collect())
    }

    async fn sweep(&self, limit: usize, policy: &SweepPolicy) -> Result<Vec<Swept>> {
        self.sweep_all(limit, policy).await
    }

    async fn operate(&self, id: JobId, operation: &Operation) -> Result<Operated> {
        self.operate_one(id, operation).await
    }

    async fn operate_many(&self, operations: &[(JobId, Operation)]) -> Result<Vec<Operated>> {
        self.operate_batch(operations).await
    }

    async fn get(&self, ids: &[JobId]) -> Result<Vec<Option<Job>>> {
        self.jobs(ids).await
    }

    async fn list(&self, filter: &Filter, slice: &Slice) -> Result<Listed> {
        self.list_fitting(filter, slice).await
    }

    async fn counts(&self) -> Result<Vec<QueueCounts>> {
        self.count_all().await
    }

    async fn purge(&self, limit: usize) -> Result<usize> {
        self.purge_all(limit).await
    }

    async fn now(&self) -> Result<Timestamp> {
        Ok(self.clock())
    }

    async fn wait_ready(&self, queues: &[Arc<str>]) -> Result<()> {
        self.waits
            .ready(queues, self.store.capabilities().shared)
            .await;
        Ok(())
    }

    async fn wait_cancelled(&self) -> Result<()> {
        self.waits.cancelled().await;
        Ok(())
    }

    async fn wait_ended(&self, id: JobId) -> Result<()> {
        let ended = self.waits.ended(id, self.store.capabilities().shared);
        if matches!(self.jobs(&[id]).await?.as_slice(), [Some(job)] if !job.state().is_terminal()) {
            ended.await;
        }
        Ok(())
    }
}
