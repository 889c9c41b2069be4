//! Jobs in PostgreSQL, 14 or later: for any number of processes on any number of hosts.
//!
//! | | |
//! |---|---|
//! | durability | a crash of the machine; with `synchronous_commit` off, of the process only |
//! | order | the most urgent first, then the longest due, across all processes |
//! | wake-up | by NOTIFY, at once; by polling within two seconds if a notification is lost |
//! | clock | the server's |
//! | limits | 1 MiB of metadata a job |
//!
//! Everything is in a schema of its own, by default `bgjob`, which is created and brought up to
//! date when the store is opened.

mod below;
mod change;
mod claim;
mod connections;
mod create;
mod db;
pub mod drivers;
mod end;
mod error;
mod floors;
mod head;
mod lanes;
mod load;
mod operate;
mod options;
mod read;
mod rows;
mod save;
mod schema;
mod signals;
mod sql;
mod transaction;
mod url;
mod within;
mod workers;

use std::{
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use sqlx::Connection;
use tokio::time::{Instant, timeout};

use bgjob_core::{
    Durability, Job, JobId, JobStore, Json, Result, Timestamp,
    job::{
        Grant, NewJob, Owner, Serves, Token,
        transition::{Operated, Operation, SweepPolicy},
    },
    store::{
        Claim, Claimed, Created, Ending, Filter, Finished, InTransactions, Listed, Opening,
        QueueCounts, Renewal, Renewed, Scheme, Slice, Statement, StoreCapabilities, Swept, Want,
    },
    toolkit::{Wait, Wake},
};

pub use options::PostgresOptions;
pub use schema::Migration;
pub use transaction::JobTransaction;

use change::News;
use db::Db;
use signals::Signals;

bgjob_core::register_scheme!(Scheme::store("postgres", open));
bgjob_core::register_scheme!(Scheme::store("postgresql", open));

fn open(url: &str) -> Opening<'_, dyn JobStore> {
    Box::pin(async move { Ok(Arc::new(PostgresStore::open_url(url).await?) as Arc<dyn JobStore>) })
}

/// A store in PostgreSQL.
///
/// ```no_run
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// use bgjob::{JobStore, providers::postgres::PostgresStore};
///
/// let store = PostgresStore::open_url("postgres://me@localhost/app").await?;
/// assert_eq!(store.capabilities().name, "postgres");
/// # Ok::<(), bgjob::Error>(()) }).unwrap();
/// ```
#[derive(Debug)]
pub struct PostgresStore {
    db: Arc<Db>,
    wake: Arc<Wake>,
    signals: Signals,
    /// When a wait for work last ended with a notification.
    roused_at: Mutex<Option<Instant>>,
    schema: String,
    capabilities: StoreCapabilities,
}

/// What the store can do at its best.
const CAPABILITIES: StoreCapabilities = StoreCapabilities::new("postgres", Durability::OsCrash);

/// Poll intervals, in case a notification is lost with the process that should send it: for work,
/// for work where no notifications are received, and for the end of a job (`LOOK_ENDED`).
const LOOK_READY: Duration = Duration::from_secs(2);
const LOOK_UNHEARD: Duration = Duration::from_secs(1);
/// The interval for work, once, after a waiter was woken: jobs often come together, and a program
/// that ends right after the last of several leaves that notification unsent.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
const LOOK_ENDED: Duration = Duration::from_millis(500);

/// From this many ends on, claiming at the same time on a second connection is faster than sharing
/// one commit: a server with more than one core does both at once.
const BESIDE: usize = 64;

/// A waiter registers itself as idle in the database only after waiting this long; under load none
/// does.
const DOZE: Duration = Duration::from_millis(20);

impl PostgresStore {
    /// Opens the database of a URL; see [`PostgresOptions::from_url`].
    ///
    /// # Errors
    /// As [`PostgresOptions::from_url`] and [`PostgresOptions::open`].
    pub async fn open_url(url: &str) -> Result<Self> {
        PostgresOptions::from_url(url)?.open().await
    }

    async fn start(options: PostgresOptions) -> Result<Self> {
        let mut first = options.first().await?;
        schema::prepare(&mut first, &options).await?;
        // The server may allow no more connections than those for calls.
        first.close().await.ok();
        let db = Arc::new(Db::new(&options));
        let first = db.connection().await?;
        db.rehearse(first, &options).await;
        let mut capabilities = CAPABILITIES;
        if !db.is_durable().await? {
            capabilities.durability = Durability::ProcessCrash;
        }
        capabilities.wakes = !options.pooled;
        capabilities.finish_beside = Some(BESIDE);
        let wake = Arc::<Wake>::default();
        let signals = Signals::new(&options, &db.sql, Arc::clone(&wake));
        Ok(Self {
            db,
            wake,
            signals,
            roused_at: Mutex::default(),
            schema: options.schema,
            capabilities,
        })
    }

    /// Creates the tables or brings them up to date, and does nothing else: for deployments whose
    /// programs may not do that themselves (`bgjob.migrate=off`). All missing steps run in one
    /// transaction, in one process at a time.
    ///
    /// ```no_run
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// use bgjob::providers::postgres::{PostgresOptions, PostgresStore};
    ///
    /// let owner = PostgresOptions::from_url("postgres://owner@localhost/app")?;
    /// PostgresStore::migrate(&owner).await?;
    /// # Ok::<(), bgjob::Error>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// As [`PostgresOptions::open`].
    pub async fn migrate(options: &PostgresOptions) -> Result<()> {
        options.check()?;
        let mut connection = options.first().await?;
        schema::prepare(&mut connection, &options.clone().migrate(true)).await
    }

    /// The steps that create the tables and bring them up to date, as SQL to run by hand, and which
    /// of them the database has had. Run each step in a transaction of its own.
    ///
    /// ```no_run
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// use bgjob::providers::postgres::{PostgresOptions, PostgresStore};
    ///
    /// let app = PostgresOptions::from_url("postgres://me@localhost/app")?;
    /// for step in PostgresStore::migrations(&app).await? {
    ///     println!("-- version {}, applied: {}\n{}", step.version, step.applied, step.sql);
    /// }
    /// # Ok::<(), bgjob::Error>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// As [`PostgresOptions::open`].
    pub async fn migrations(options: &PostgresOptions) -> Result<Vec<Migration>> {
        // A caller that runs the steps trusts the name in them.
        options.check()?;
        let mut connection = options.first().await?;
        schema::migrations(&mut connection, &options.schema).await
    }

    /// The schema of the store's tables.
    pub fn schema(&self) -> &str {
        &self.schema
    }

    fn tell(&self, news: &News) {
        self.wake.ended(&news.ended);
        self.signals.ready(&news.ready).later();
        if news.cancelled {
            self.signals.cancelled();
        }
    }

    async fn wait_ready(&self, wait: Wait) {
        let mut woken = pin!(wait.woken());
        if timeout(DOZE, &mut woken).await.is_ok() {
            self.rouse();
            return;
        }
        // Other processes don't notify as long as they don't know of a waiter. Once this waiter is
        // registered, the wait ends: the caller looks again and finds what was committed until
        // then.
        let listens = self.signals.listens();
        if listens && !self.db.is_known_to_sleep() {
            tokio::select! {
                biased;
                () = &mut woken => return self.rouse(),
                noted = self.fall_asleep() => {
                    if noted {
                        return;
                    }
                }
            }
        }
        let look = match listens {
            _ if self.was_just_roused() => LOOK_AGAIN,
            true => LOOK_READY,
            false => LOOK_UNHEARD,
        };
        if timeout(look - DOZE, woken).await.is_ok() {
            self.rouse();
        }
    }

    /// As [`Db::fall_asleep`], on a task of its own: a wait is not polled while its dispatcher has
    /// other work, and would keep a connection from that work. The task finishes as any call does,
    /// whether its result is awaited or not.
    async fn fall_asleep(&self) -> bool {
        let db = Arc::clone(&self.db);
        let noted = tokio::spawn(async move { db.fall_asleep().await });
        noted.await.unwrap_or(false)
    }

    fn rouse(&self) {
        *self.roused_at() = Some(Instant::now());
    }

    fn was_just_roused(&self) -> bool {
        self.roused_at().is_some_and(|at| at.elapsed() < LOOK_AGAIN)
    }

    fn roused_at(&self) -> MutexGuard<'_, Option<Instant>> {
        self.roused_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl JobStore for PostgresStore {
    fn capabilities(&self) -> StoreCapabilities {
        self.capabilities.clone()
    }

    async fn create(&self, jobs: &[NewJob]) -> Result<Vec<Created>> {
        let created = self.db.create(jobs).await?;
        let mut queues = Vec::new();
        for (job, created) in jobs.iter().zip(&created) {
            if *created == Created::Created && !queues.contains(&job.spec.queue) {
                queues.push(Arc::clone(&job.spec.queue));
            }
        }
        self.signals.ready(&queues).told().await;
        Ok(created)
    }

    async fn claim(&self, ids: &[JobId], grant: &Grant, serves: &Serves) -> Result<Vec<Claim>> {
        self.db.claim(ids, grant, serves).await
    }

    async fn claim_ready(&self, want: &[Want], grant: &Grant, serves: &Serves) -> Result<Claimed> {
        let (_, claimed) = self.db.claim_ready(None, want, grant, serves).await?;
        Ok(claimed)
    }

    async fn finish(&self, ends: &[Ending]) -> Result<Vec<Finished>> {
        let mut news = News::default();
        let finished = self.db.finish(ends, &mut news).await;
        self.tell(&news);
        finished
    }

    async fn finish_and_claim(
        &self,
        ends: &[Ending],
        want: &[Want],
        grant: &Grant,
        serves: &Serves,
    ) -> Result<(Vec<Finished>, Claimed)> {
        let mut news = News::default();
        let both = self
            .db
            .finish_and_claim(ends, want, grant, serves, &mut news)
            .await;
        self.tell(&news);
        both
    }

    async fn renew(&self, held: &[Renewal], lease: Duration) -> Result<Vec<Renewed>> {
        self.db.renew(held, lease).await
    }

    async fn sweep(&self, limit: usize, policy: &SweepPolicy) -> Result<Vec<Swept>> {
        self.db.look_below().await?;
        let mut news = News::default();
        let swept = self.db.sweep(limit, policy, &mut news).await;
        self.tell(&news);
        swept
    }

    async fn operate(&self, id: JobId, operation: &Operation) -> Result<Operated> {
        let mut news = News::default();
        let operated = self.db.operate(id, operation, &mut news).await;
        self.tell(&news);
        operated
    }

    async fn operate_many(&self, operations: &[(JobId, Operation)]) -> Result<Vec<Operated>> {
        let mut news = News::default();
        let operated = self.db.operate_many(operations, &mut news).await;
        self.tell(&news);
        operated
    }

    async fn get(&self, ids: &[JobId]) -> Result<Vec<Option<Job>>> {
        self.db.get(ids).await
    }

    async fn list(&self, filter: &Filter, slice: &Slice) -> Result<Listed> {
        self.db.list(filter, slice).await
    }

    async fn counts(&self) -> Result<Vec<QueueCounts>> {
        self.db.counts().await
    }

    async fn name_worker(&self, owner: Owner, name: &str) -> Result<()> {
        self.db.name_worker(owner, name).await
    }

    async fn worker_names(&self, owners: &[Owner]) -> Result<Vec<Option<String>>> {
        self.db.worker_names(owners).await
    }

    async fn purge(&self, limit: usize) -> Result<usize> {
        self.db.purge(limit).await
    }

    async fn now(&self) -> Result<Timestamp> {
        self.db.now().await
    }

    fn transactions(&self) -> Option<&dyn InTransactions> {
        Some(self)
    }

    async fn wait_cancelled(&self) -> Result<()> {
        self.signals.listen();
        self.wake.wait_cancelled().woken().await;
        Ok(())
    }

    async fn cancelled(&self) -> Result<Option<Vec<JobId>>> {
        self.db.cancelled().await.map(Some)
    }

    async fn wait_ready(&self, queues: &[Arc<str>]) -> Result<()> {
        self.signals.listen();
        let wait = self.wake.wait_ready(queues);
        self.wait_ready(wait).await;
        Ok(())
    }

    async fn wait_ended(&self, id: JobId) -> Result<()> {
        // The limit bounds the delay of a lost notification: the caller looks, and calls again.
        timeout(LOOK_ENDED, self.wake.wait_ended(id).woken())
            .await
            .ok();
        Ok(())
    }
}

#[async_trait]
impl InTransactions for PostgresStore {
    async fn create(&self, jobs: &[NewJob]) -> Result<Statement> {
        self.db.create_within(jobs).await
    }

    fn succeed(&self, id: JobId, token: Token, result: &Json) -> Result<Statement> {
        Ok(self.db.succeed_within(id, token, result))
    }

    fn succeeded(&self, id: JobId) {
        self.wake.ended(&[id]);
    }
}
