//! Jobs in one SQLite file: the embedded default, for any number of processes on one host.
//!
//! | | |
//! |---|---|
//! | durability | a crash of the machine; with `?sync=normal`, of the process only |
//! | order | the most urgent first, then the longest due, across all processes |
//! | wake-up | at once within the process, within 40 ms across processes |
//! | clock | the host's, which all processes share |
//! | limits | 1 MiB of metadata a job; one host, no network file system |
//! | files | made with mode 0600, for their owner alone; those that are there keep theirs |
//!
//! A relative path is resolved against the program's folder at the time the store is opened.
//!
//! Writes go to one thread. It commits all calls that have gathered since its last commit at once,
//! so that a thousand tasks share a handful of commits. Reads have a thread and a connection of
//! their own.
//!
//! A process that is stopped (`SIGSTOP`, a container that is paused) in the middle of a commit
//! holds up the writes of all others until it goes on or dies. Nothing is lost by that but time.

mod calls;
mod claim;
mod connect;
mod error;
mod gone;
mod insert;
mod lanes;
mod look;
mod options;
mod reader;
mod rows;
mod schema;
mod tx;
mod value;
mod workers;
mod writer;

#[cfg(test)]
mod tests;

use std::{path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;

use bgjob_core::{
    Clock, Durability, Job, JobId, JobStore, Result, Timestamp,
    job::{
        Grant, NewJob, Owner, Serves,
        transition::{Operated, Operation, SweepPolicy},
    },
    store::{
        Claim, Claimed, Created, Ending, Filter, Finished, Listed, QueueCounts, Renewal, Renewed,
        Scheme, Slice, StoreCapabilities, Swept, Want,
    },
    toolkit::{Wait, Wake, absolute},
};

pub use options::{SqliteOptions, Sync};

use reader::Reader;
use writer::Writer;

bgjob_core::register_scheme!(Scheme::store("sqlite", |url| {
    Box::pin(async move { Ok(Arc::new(SqliteStore::open_url(url).await?) as Arc<dyn JobStore>) })
}));

/// A store in one SQLite file.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// # let folder = std::env::temp_dir().join(bgjob::JobId::new().to_string());
/// # std::fs::create_dir(&folder).unwrap();
/// use bgjob::{JobStore, providers::sqlite::SqliteStore};
///
/// let store = SqliteStore::open(folder.join("jobs.db")).await?;
/// assert_eq!(store.capabilities().name, "sqlite");
/// # drop(store);
/// # std::fs::remove_dir_all(&folder).unwrap();
/// # Ok::<(), bgjob::Error>(()) }).unwrap();
/// ```
#[derive(Debug)]
pub struct SqliteStore {
    writer: Writer,
    reader: Reader,
    wake: Arc<Wake>,
    clock: Arc<dyn Clock>,
    capabilities: StoreCapabilities,
}

/// What the store can do at its best. All its clients run on one host and share its clock, so
/// nobody has to allow for differences between clocks.
const CAPABILITIES: StoreCapabilities = StoreCapabilities::new("sqlite", Durability::OsCrash);

impl SqliteStore {
    /// Opens the database at this path. The file is created if there is none.
    ///
    /// # Errors
    /// `Unavailable` if the database can't be opened at the moment, `InvalidInput` if the file is
    /// something else or read-only, `Unsupported` if a newer version made the database.
    pub async fn open(path: impl Into<PathBuf>) -> Result<Self> {
        SqliteOptions::new(path).open().await
    }

    /// Opens the database of a URL; see [`SqliteOptions::from_url`].
    ///
    /// # Errors
    /// As [`open`](Self::open) and [`SqliteOptions::from_url`].
    pub async fn open_url(url: &str) -> Result<Self> {
        SqliteOptions::from_url(url)?.open().await
    }

    async fn start(mut options: SqliteOptions) -> Result<Self> {
        options.check()?;
        options.path = absolute(&options.path)?;
        let clock = Arc::clone(&options.clock);
        let mut capabilities = CAPABILITIES;
        if options.sync == Sync::Normal {
            capabilities.durability = Durability::ProcessCrash;
        }
        let wake = Arc::<Wake>::default();
        let writer = Writer::start(options.clone(), Arc::clone(&wake)).await?;
        let reader = Reader::start(options)?;
        Ok(Self {
            writer,
            reader,
            wake,
            clock,
            capabilities,
        })
    }

    /// Notifies the writer, which looks for other processes' commits only while someone waits.
    async fn wait(&self, wait: Wait) -> Result<()> {
        self.writer.waiting();
        wait.woken().await;
        Ok(())
    }
}

#[async_trait]
impl JobStore for SqliteStore {
    fn capabilities(&self) -> StoreCapabilities {
        self.capabilities.clone()
    }

    async fn create(&self, jobs: &[NewJob]) -> Result<Vec<Created>> {
        let queues = queues(jobs);
        let jobs = jobs.to_vec();
        let created = self.writer.call(jobs.len(), move |tx| tx.create(&jobs));
        // A waiter that is woken now sends its claim right after this call, usually in time for the
        // same transaction: so a job for an idle dispatcher costs one commit to the disk, not two.
        self.wake.ready(&queues);
        created.await
    }

    async fn claim(&self, ids: &[JobId], grant: &Grant, serves: &Serves) -> Result<Vec<Claim>> {
        let (ids, grant, serves) = (ids.to_vec(), *grant, serves.clone());
        self.writer
            .call(ids.len(), move |tx| tx.claim(&ids, &grant, &serves))
            .await
    }

    async fn claim_ready(&self, want: &[Want], grant: &Grant, serves: &Serves) -> Result<Claimed> {
        let (want, grant, serves) = (want.to_vec(), *grant, serves.clone());
        self.writer
            .call(wanted(&want), move |tx| {
                tx.claim_ready(&want, &grant, &serves)
            })
            .await
    }

    async fn finish(&self, ends: &[Ending]) -> Result<Vec<Finished>> {
        let ends = ends.to_vec();
        self.writer
            .call(ends.len(), move |tx| tx.finish(&ends))
            .await
    }

    async fn finish_and_claim(
        &self,
        ends: &[Ending],
        want: &[Want],
        grant: &Grant,
        serves: &Serves,
    ) -> Result<(Vec<Finished>, Claimed)> {
        let (ends, want, grant, serves) = (ends.to_vec(), want.to_vec(), *grant, serves.clone());
        let jobs = wanted(&want).saturating_add(ends.len());
        let both = move |tx: &mut tx::Tx<'_>| {
            let finished = tx.finish(&ends)?;
            Ok((finished, tx.claim_ready(&want, &grant, &serves)?))
        };
        self.writer.call(jobs, both).await
    }

    async fn renew(&self, held: &[Renewal], lease: Duration) -> Result<Vec<Renewed>> {
        let held = held.to_vec();
        self.writer
            .urgent(held.len(), move |tx| tx.renew(&held, lease))
            .await
    }

    async fn sweep(&self, limit: usize, policy: &SweepPolicy) -> Result<Vec<Swept>> {
        let policy = policy.clone();
        self.writer
            .call(limit, move |tx| tx.sweep(limit, &policy))
            .await
    }

    async fn operate(&self, id: JobId, operation: &Operation) -> Result<Operated> {
        let operation = operation.clone();
        self.writer
            .call(1, move |tx| tx.operate(id, &operation))
            .await
    }

    async fn operate_many(&self, operations: &[(JobId, Operation)]) -> Result<Vec<Operated>> {
        let (jobs, operations) = (operations.len(), operations.to_vec());
        let operate = move |tx: &mut tx::Tx<'_>| {
            let each = operations.iter().map(|(id, op)| tx.operate(*id, op));
            each.collect()
        };
        self.writer.call(jobs, operate).await
    }

    async fn get(&self, ids: &[JobId]) -> Result<Vec<Option<Job>>> {
        let ids = ids.to_vec();
        self.reader.call(move |db| db.get(&ids)).await
    }

    async fn list(&self, filter: &Filter, slice: &Slice) -> Result<Listed> {
        let (filter, slice) = (filter.clone(), *slice);
        self.reader.call(move |db| db.list(&filter, &slice)).await
    }

    async fn counts(&self) -> Result<Vec<QueueCounts>> {
        let now = self.clock.now();
        self.reader.call(move |db| db.counts(now)).await
    }

    async fn name_worker(&self, owner: Owner, name: &str) -> Result<()> {
        let name = name.to_owned();
        self.writer
            .call(1, move |tx| tx.name_worker(owner, &name))
            .await
    }

    async fn worker_names(&self, owners: &[Owner]) -> Result<Vec<Option<String>>> {
        let owners = owners.to_vec();
        self.reader.call(move |db| db.worker_names(&owners)).await
    }

    async fn purge(&self, limit: usize) -> Result<usize> {
        self.writer.call(limit, move |tx| tx.purge(limit)).await
    }

    async fn now(&self) -> Result<Timestamp> {
        Ok(self.clock.now())
    }

    async fn wait_cancelled(&self) -> Result<()> {
        self.wait(self.wake.wait_cancelled()).await
    }

    async fn cancelled(&self) -> Result<Option<Vec<JobId>>> {
        self.reader.call(|db| db.cancelled()).await.map(Some)
    }

    async fn wait_ready(&self, queues: &[Arc<str>]) -> Result<()> {
        self.wait(self.wake.wait_ready(queues)).await
    }

    async fn wait_ended(&self, id: JobId) -> Result<()> {
        self.wait(self.wake.wait_ended(id)).await
    }
}

/// The queues of these jobs, each once.
fn queues(jobs: &[NewJob]) -> Vec<Arc<str>> {
    let mut queues = Vec::new();
    for job in jobs {
        add_queue(&mut queues, &job.spec.queue);
    }
    queues
}

/// Adds a queue that is not there yet.
fn add_queue(queues: &mut Vec<Arc<str>>, queue: &Arc<str>) {
    // Most batches have one queue, so comparing with the last one usually is enough.
    if queues.last() != Some(queue) && !queues.contains(queue) {
        queues.push(Arc::clone(queue));
    }
}

/// The most jobs that a claim may take.
fn wanted(want: &[Want]) -> usize {
    want.iter()
        .map(|want| want.max)
        .fold(0, usize::saturating_add)
}
