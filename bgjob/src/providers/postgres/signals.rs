//! Waking across processes: who has stored something says so (NOTIFY), who waits listens (LISTEN).

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use sqlx::{PgPool, postgres::PgListener};
use tokio::{
    sync::Notify,
    task::JoinHandle,
    time::{Instant, sleep, sleep_until},
};

use crate::providers::wake::Wake;

use super::{db::call, options::PostgresOptions, sql::Sql};

/// Between two notifications of one process: each takes a lock that all commits with one share, for
/// a moment only, as a transaction that does nothing else waits for no disk. It is what a process
/// that ends right after an enqueue may leave untold.
const APART: Duration = Duration::from_millis(5);

/// Between two tries to connect, at most.
const RECONNECT: Duration = Duration::from_secs(1);

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
    listens: AtomicBool,
    speaks: AtomicBool,
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
}

impl Outbox {
    fn put(&self, queues: &[Arc<str>], heard: bool) {
        self.can_wait.store(heard, Relaxed);
        let mut waiting = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.extend(queues.iter().cloned());
        drop(waiting);
        self.filled.notify_one();
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
        Self {
            pool: options.own_pool(2),
            channel: format!("bgjob_{}", options.schema),
            notify: Arc::clone(&sql.notify),
            wake,
            outbox: Arc::default(),
            silent: options.pooled,
            listens: AtomicBool::new(false),
            speaks: AtomicBool::new(false),
            tasks: Mutex::default(),
        }
    }

    /// Tells everybody of work in these queues: this process at once, the others soon.
    pub(super) fn ready(&self, queues: &[Arc<str>]) {
        if queues.is_empty() {
            return;
        }
        let heard = self.wake.ready(queues);
        if self.silent {
            return;
        }
        self.outbox.put(queues, heard);
        if !self.speaks.swap(true, Relaxed) {
            let (pool, outbox) = (self.pool.clone(), Arc::clone(&self.outbox));
            let (channel, notify) = (self.channel.clone(), Arc::clone(&self.notify));
            self.spawn(async move {
                loop {
                    outbox.filled.notified().await;
                    if outbox.can_wait.load(Relaxed) {
                        sleep(APART).await;
                    }
                    let next = Instant::now() + APART;
                    let queues = outbox.take();
                    if !queues.is_empty() {
                        // What is lost is found by those who look: they do it every other second.
                        let call = call(&notify).bind(channel.clone()).bind(queues);
                        call.query().execute(&pool).await.ok();
                        sleep_until(next).await;
                    }
                }
            });
        }
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
