//! Wake-ups across processes: a process that has stored a job sends a notification (NOTIFY), a
//! process that waits listens (LISTEN).

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

use bgjob_core::toolkit::Wake;

use super::{
    db::call,
    options::{PostgresOptions, STATEMENT},
    schema::channel,
    sql::Sql,
};

/// The pause between two notifications of one process. Each takes a lock that all commits share,
/// but only for a moment: its transaction does nothing else and waits for no disk. A process that
/// ends right after several enqueues may leave the notifications of one pause unsent; a waiter that
/// received the first notification looks again soon.
const APART: Duration = Duration::from_millis(5);

/// If no notification was sent for this long, the next one counts as the first for a while.
const QUIET: Duration = Duration::from_millis(20);

/// The longest that an enqueue waits until its notification is sent. The first one also waits for a
/// connection.
const TELL: Duration = Duration::from_millis(100);

/// The pause between two tries to connect.
const RECONNECT: Duration = Duration::from_secs(1);

/// The payload that says that a running job was asked to end. No queue can have this name.
const CANCELLED: &str = "!cancelled";

/// Sends and receives notifications on two connections of its own, which stay open. A pooler gives
/// no connection that stays.
#[derive(Debug)]
pub(super) struct Signals {
    pool: PgPool,
    channel: String,
    notify: Arc<str>,
    wake: Arc<Wake>,
    outbox: Arc<Outbox>,
    /// Behind a pooler: nothing is sent, and nothing listens.
    silent: bool,
    speaker: Lasting,
    listener: Lasting,
}

/// A task that runs for as long as it is needed. It is started again if its runtime has ended, as a
/// store may outlive the runtime that it was opened in.
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

/// The queues of the next notification.
#[derive(Debug, Default)]
struct Outbox {
    queues: Mutex<BTreeSet<Arc<str>>>,
    filled: Notify,
    /// A waiter in this process was woken already. The notification waits for a moment, so that the
    /// waiters of other processes don't compete with that one for the server.
    can_wait: AtomicBool,
    /// When a notification was last sent or given up.
    told_at: Mutex<Option<Instant>>,
    /// Notified when the queues of the outbox have been sent or given up.
    told: Notify,
}

/// A notification on its way.
#[must_use = "who does not wait for them should say so"]
pub(super) struct Telling<'a>(Option<(&'a Outbox, Notified<'a>)>);

impl Telling<'_> {
    /// If the notification is the first for a while, waits until it is sent, at most [`TELL`]: so a
    /// process may end right after it has enqueued a job, and the waiters of other processes are
    /// notified all the same. A caller that enqueues many jobs one after the other is not held up.
    pub(super) async fn told(self) {
        if let Some((outbox, told)) = self.0
            && timeout(TELL, told).await.is_err()
        {
            // No other enqueue should wait for a notification that can't be sent.
            outbox.has_told();
        }
    }

    /// Does not wait: the notification is sent in the background.
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

    /// Notifies all waiters for work in these queues: those of this process at once, the others
    /// soon.
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

    /// Notifies all waiters that a running job was asked to end.
    pub(super) fn cancelled(&self) {
        self.wake.cancelled();
        if !self.silent {
            self.speak();
            self.outbox.put(&[CANCELLED.into()], false);
        }
    }

    /// Whether notifications of other processes are received at all.
    pub(super) fn listens(&self) -> bool {
        !self.silent
    }

    /// Starts to listen, if no task listens yet.
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

/// Sends the notifications.
struct Speaker {
    pool: PgPool,
    /// Kept open, so that the first notification need not wait for a connection.
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
                // A lost notification is made up for by the waiters, which poll every two seconds.
                self.say(&queues).await;
                outbox.has_told();
                sleep_until(next).await;
            }
        }
    }

    /// Sends on the open connection, and if that was lost on a new one.
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
            // Closed without a farewell, as the server may be gone.
            drop(self.connection.take().map(PoolConnection::detach));
        }
    }

    async fn connect(&mut self) {
        if self.connection.is_none() {
            self.connection = self.pool.acquire().await.ok();
        }
    }
}

/// Wakes the waiters at each notification, until the connection is lost.
async fn hear(listener: &mut PgListener, wake: &Wake) {
    // Earlier notifications are lost, so all look now. Later ones are received.
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
        // Any client that may connect may notify, as often as it likes. The notifications that
        // arrive during this pause are handled together, so that a flood of them leads to few
        // claims.
        sleep(APART).await;
    }
}
