//! Waking across processes: who has stored something says so (NOTIFY), who waits listens (LISTEN).

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use sqlx::{PgPool, Postgres, pool::PoolConnection, postgres::PgListener};
use tokio::{
    sync::{Notify, futures::Notified},
    task::JoinHandle,
    time::{Instant, sleep, sleep_until, timeout},
};

use crate::providers::wake::Wake;

use super::{
    db::call,
    options::{PostgresOptions, STATEMENT},
    sql::Sql,
};

/// Between two notifications of one process: each takes a lock that all commits with one share, for
/// a moment only, as a transaction that does nothing else waits for no disk. It is what a process
/// that ends right after several enqueues may leave untold.
const APART: Duration = Duration::from_millis(5);

/// Nothing was told for so long: whoever tells now is by itself.
const QUIET: Duration = Duration::from_millis(20);

/// Longest that whoever has stored a job waits until the others were told. The first one waits for
/// a connection too.
const TELL: Duration = Duration::from_millis(100);

/// Between two tries to connect, at most.
const RECONNECT: Duration = Duration::from_secs(1);

/// Two connections of their own, as a pooler gives none that stays.
#[derive(Debug)]
pub(super) struct Signals {
    pool: PgPool,
    channel: String,
    wake: Arc<Wake>,
    outbox: Arc<Outbox>,
    /// Behind a pooler there is nothing to listen on.
    silent: bool,
    listens: AtomicBool,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

/// Queues that others are to hear of.
#[derive(Debug, Default)]
struct Outbox {
    queues: Mutex<BTreeSet<Arc<str>>>,
    filled: Notify,
    /// Somebody in this process has heard already, and should not have to share the server with
    /// the others just now.
    can_wait: AtomicBool,
    /// When something was last told, or could not be.
    told_at: Mutex<Option<Instant>>,
    /// What was put in has been told.
    told: Notify,
}

/// News on their way.
#[must_use = "who does not wait for them should say so"]
pub(super) struct Telling<'a>(Option<(&'a Outbox, Notified<'a>)>);

impl Telling<'_> {
    /// Returns once they are told, if they are the first for a while: so a process may end after it
    /// has enqueued a job, and those that sleep elsewhere have heard of it. Who enqueues many one
    /// after the other is not held up.
    pub(super) async fn told(self) {
        if let Some((outbox, told)) = self.0
            && timeout(TELL, told).await.is_err()
        {
            // Nobody else should wait for one who is not able to tell.
            outbox.has_told();
        }
    }

    /// They are told without us.
    pub(super) fn later(self) {}
}

impl Outbox {
    fn put(&self, queues: &[Arc<str>], heard: bool) {
        self.can_wait.store(heard, Relaxed);
        let mut waiting = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.extend(queues.iter().cloned());
        drop(waiting);
        self.filled.notify_one();
    }

    fn has_told(&self) {
        *self.told_at() = Some(Instant::now());
        self.told.notify_waiters();
    }

    fn is_quiet(&self) -> bool {
        self.told_at().is_none_or(|at| at.elapsed() >= QUIET)
    }

    fn told_at(&self) -> MutexGuard<'_, Option<Instant>> {
        self.told_at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Vec<String> {
        let mut waiting = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *waiting)
            .iter()
            .map(ToString::to_string)
            .collect()
    }
}

impl Signals {
    pub(super) fn new(options: &PostgresOptions, sql: &Sql, wake: Arc<Wake>) -> Self {
        let this = Self {
            pool: options.own_pool(2),
            channel: format!("bgjob_{}", options.schema),
            wake,
            outbox: Arc::default(),
            silent: options.pooled,
            listens: AtomicBool::new(false),
            tasks: Mutex::default(),
        };
        if !this.silent {
            let speaker = Speaker {
                pool: this.pool.clone(),
                connection: None,
                channel: this.channel.clone(),
                notify: Arc::clone(&sql.notify),
            };
            this.spawn(speaker.run(Arc::clone(&this.outbox)));
        }
        this
    }

    /// Tells everybody of work in these queues: this process at once, the others soon.
    pub(super) fn ready(&self, queues: &[Arc<str>]) -> Telling<'_> {
        if queues.is_empty() {
            return Telling(None);
        }
        let heard = self.wake.ready(queues);
        if self.silent {
            return Telling(None);
        }
        let told = self.outbox.told.notified();
        let now = !heard && self.outbox.is_quiet();
        self.outbox.put(queues, heard);
        Telling(now.then_some((&*self.outbox, told)))
    }

    /// Whether anything is heard here at all.
    pub(super) fn listens(&self) -> bool {
        !self.silent
    }

    /// Begins to listen, if nobody does.
    pub(super) fn listen(&self) {
        if self.silent || self.listens.swap(true, Relaxed) {
            return;
        }
        let (pool, channel, wake) = (
            self.pool.clone(),
            self.channel.clone(),
            Arc::clone(&self.wake),
        );
        self.spawn(async move {
            loop {
                if let Ok(mut listener) = PgListener::connect_with(&pool).await
                    && listener.listen(&channel).await.is_ok()
                {
                    hear(&mut listener, &wake).await;
                }
                sleep(RECONNECT).await;
            }
        });
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.push(tokio::spawn(task));
    }
}

/// Says what others are to hear.
struct Speaker {
    pool: PgPool,
    /// Kept, as the first to be told should not have to wait for one.
    connection: Option<PoolConnection<Postgres>>,
    channel: String,
    notify: Arc<str>,
}

impl Speaker {
    async fn run(mut self, outbox: Arc<Outbox>) {
        self.connect().await;
        loop {
            outbox.filled.notified().await;
            if outbox.can_wait.load(Relaxed) {
                sleep(APART).await;
            }
            let next = Instant::now() + APART;
            let queues = outbox.take();
            if !queues.is_empty() {
                // What is lost is found by those who look: they do it every other second.
                self.say(&queues).await;
                outbox.has_told();
                sleep_until(next).await;
            }
        }
    }

    /// On a connection that was lost since, and then on a new one.
    async fn say(&mut self, queues: &[String]) {
        for _ in 0..2 {
            self.connect().await;
            let Some(connection) = &mut self.connection else {
                return;
            };
            let call = call(&self.notify).bind(self.channel.clone()).bind(queues);
            let said = timeout(STATEMENT, call.query().execute(&mut **connection)).await;
            if said.is_ok_and(|said| said.is_ok()) {
                return;
            }
            // Closed without a word: nobody may be there who answers.
            drop(self.connection.take().map(PoolConnection::detach));
        }
    }

    async fn connect(&mut self) {
        if self.connection.is_none() {
            self.connection = self.pool.acquire().await.ok();
        }
    }
}

/// Until the connection is lost.
async fn hear(listener: &mut PgListener, wake: &Wake) {
    // What was told before is lost, and what is told now is heard.
    wake.all();
    while let Ok(Some(heard)) = listener.try_recv().await {
        let mut queues = vec![Arc::<str>::from(heard.payload())];
        while let Some(heard) = listener.next_buffered() {
            queues.push(heard.payload().into());
        }
        wake.ready(&queues);
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.drain(..).for_each(|task| task.abort());
    }
}
