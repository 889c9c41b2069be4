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
    schema::channel,
    sql::Sql,
};

/// Between two notifications of one process: each takes a lock that all commits with one share, for
/// a moment only, as a transaction that does nothing else waits for no disk. It is what a
/// process that ends right after several enqueues may leave untold: who hears of the first looks
/// again soon.
const APART: Duration = Duration::from_millis(5);

/// Nothing was told for so long: whoever tells now is by itself.
const QUIET: Duration = Duration::from_millis(20);

/// Longest that whoever has stored a job waits until the others were told. The first one waits for
/// a connection too.
const TELL: Duration = Duration::from_millis(100);

/// Between two tries to connect, at most.
const RECONNECT: Duration = Duration::from_secs(1);

/// What is said where a running job was asked to end: no name of a queue.
const CANCELLED: &str = "!cancelled";

/// Two connections of their own, as a pooler gives none that stays.
#[derive(Debug)]
pub(super) struct Signals {
    pool: PgPool,
    channel: String,
    notify: Arc<str>,
    wake: Arc<Wake>,
    outbox: Arc<Outbox>,
    /// Behind a pooler there is nothing to listen on.
    silent: bool,
    speaker: Lasting,
    listener: Lasting,
}

/// A task that is there as long as it is needed: begun anew where its runtime has ended, as a store
/// may outlive the one that it was opened in.
#[derive(Debug, Default)]
struct Lasting(Mutex<Option<JoinHandle<()>>>);

impl Lasting {
    fn keep<F: Future<Output = ()> + Send + 'static>(&self, run: impl FnOnce() -> F) {
        let mut task = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if task.as_ref().is_none_or(JoinHandle::is_finished) {
            *task = Some(tokio::spawn(run()));
        }
    }
}

impl Drop for Lasting {
    fn drop(&mut self) {
        let task = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(task) = task {
            task.abort();
        }
    }
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
            channel: channel(&options.schema),
            notify: Arc::clone(&sql.notify),
            wake,
            outbox: Arc::default(),
            silent: options.pooled,
            speaker: Lasting::default(),
            listener: Lasting::default(),
        };
        if !this.silent {
            this.speak();
        }
        this
    }

    fn speak(&self) {
        self.speaker.keep(|| {
            let speaker = Speaker {
                pool: self.pool.clone(),
                connection: None,
                channel: self.channel.clone(),
                notify: Arc::clone(&self.notify),
            };
            speaker.run(Arc::clone(&self.outbox))
        });
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
        self.speak();
        let told = self.outbox.told.notified();
        let now = !heard && self.outbox.is_quiet();
        self.outbox.put(queues, heard);
        Telling(now.then_some((&*self.outbox, told)))
    }

    /// Tells everybody that a running job was asked to end.
    pub(super) fn cancelled(&self) {
        self.wake.cancelled();
        if !self.silent {
            self.speak();
            self.outbox.put(&[CANCELLED.into()], false);
        }
    }

    /// Whether anything is heard here at all.
    pub(super) fn listens(&self) -> bool {
        !self.silent
    }

    /// Begins to listen, if nobody does.
    pub(super) fn listen(&self) {
        if self.silent {
            return;
        }
        self.listener.keep(|| {
            let (pool, channel) = (self.pool.clone(), self.channel.clone());
            let wake = Arc::clone(&self.wake);
            async move {
                loop {
                    if let Ok(mut listener) = PgListener::connect_with(&pool).await
                        && listener.listen(&channel).await.is_ok()
                    {
                        hear(&mut listener, &wake).await;
                    }
                    sleep(RECONNECT).await;
                }
            }
        });
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
        if queues.iter().any(|heard| **heard == *CANCELLED) {
            wake.cancelled();
        }
        // Whoever may connect may notify, as often as they like: what they say meanwhile is heard
        // at once then, so that a flood of it leads to few claims.
        sleep(APART).await;
    }
}
