//! Connections of a pool, and what one is worth after a call.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use sqlx::{
    PgConnection, PgPool, Postgres,
    pool::PoolConnection,
    postgres::{PgDatabaseError, PgSeverity},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout},
};

use super::{
    db::Call,
    options::{IDLE, is_alive},
};

/// How long one stays with us before the pool sees it again, which replaces those that are old.
const TURN: Duration = Duration::from_secs(300);

/// Connections of a pool, some of them at hand. A pool asks each connection that it is given back
/// whether it still is one, which costs the server as much as a small call: so one that was just
/// used stays here for the next call.
///
/// The first call of a kind on a connection takes some ten times as long as the next, as the server
/// plans all that it does. So one connection more than is in use lies ready that has had its
/// rehearsal.
#[derive(Debug)]
pub(super) struct Connections {
    pool: PgPool,
    /// One for each connection. Who waits for one is in line here: the pool never sees those that
    /// are at hand again, so who waited there would wait for ever.
    permits: Arc<Semaphore>,
    /// The last one used is the first to be used again, so that the others get idle.
    spare: Mutex<Vec<Spare>>,
    /// How many may stay at hand.
    keep: usize,
    /// The most frequent calls, with nothing to do.
    rehearsal: OnceLock<Vec<Call>>,
    adding: AtomicBool,
    /// The server would not have the rehearsal.
    refused: AtomicBool,
}

#[derive(Debug)]
struct Spare {
    connection: PoolConnection<Postgres>,
    taken_at: Instant,
    used_at: Instant,
}

impl Connections {
    pub(super) fn of(pool: PgPool, keep: usize) -> Self {
        let connections = pool.options().get_max_connections() as usize;
        Self {
            pool,
            permits: Arc::new(Semaphore::new(connections)),
            spare: Mutex::default(),
            keep,
            rehearsal: OnceLock::new(),
            adding: AtomicBool::new(false),
            refused: AtomicBool::new(false),
        }
    }

    /// Has connections go through these calls before they are needed.
    pub(super) fn rehearse(&self, calls: Vec<Call>) {
        let _ = self.rehearsal.set(calls);
    }

    fn rehearses(&self) -> bool {
        self.rehearsal.get().is_some() && !self.refused.load(Relaxed)
    }

    /// Sees to it that the next call finds one too.
    fn add_soon(self: &Arc<Self>) {
        let open = self.pool.size() as usize;
        if !self.rehearses() || open >= self.keep || self.adding.swap(true, Relaxed) {
            return;
        }
        let this = Arc::clone(self);
        tokio::spawn(async move {
            if let Ok(permit) = Arc::clone(&this.permits).try_acquire_owned()
                && let Ok(fresh) = this.connect(permit).await
            {
                fresh.get_ready().await;
            }
            this.adding.store(false, Relaxed);
        });
    }

    /// A connection, of those at hand if there are any. Cancel-safe.
    pub(super) async fn acquire(self: &Arc<Self>) -> sqlx::Result<Busy> {
        let permit = Arc::clone(&self.permits).acquire_owned();
        let permit = timeout(self.pool.options().get_acquire_timeout(), permit).await;
        let permit = permit.map_err(|_| sqlx::Error::PoolTimedOut)?;
        let permit = permit.map_err(|_| sqlx::Error::PoolClosed)?;
        while let Some(mut spare) = self.take() {
            if spare.used_at.elapsed() < IDLE || is_alive(&mut spare.connection).await {
                return Ok(Busy {
                    of: Arc::clone(self),
                    connection: Some(spare.connection),
                    taken_at: spare.taken_at,
                    ready: true,
                    _permit: permit,
                });
            }
            spare.let_go();
        }
        self.connect(permit).await
    }

    /// A connection of the pool.
    async fn connect(self: &Arc<Self>, permit: OwnedSemaphorePermit) -> sqlx::Result<Busy> {
        let connection = self.pool.acquire().await?;
        Ok(Busy {
            of: Arc::clone(self),
            connection: Some(connection),
            taken_at: Instant::now(),
            ready: !self.rehearses(),
            _permit: permit,
        })
    }

    fn spare(&self) -> MutexGuard<'_, Vec<Spare>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(self: &Arc<Self>) -> Option<Spare> {
        let mut spare = self.spare();
        let last = spare.pop();
        if spare.is_empty() {
            self.add_soon();
        }
        last
    }

    fn give_back(&self, spare: Spare) {
        let mut spares = self.spare();
        if spares.len() < self.keep && spare.taken_at.elapsed() < TURN {
            spares.push(spare);
        }
    }
}

impl Spare {
    /// Closes it without a word: nobody may be there who answers.
    fn let_go(self) {
        drop(self.connection.detach());
    }
}

impl Drop for Connections {
    fn drop(&mut self) {
        // The pool would want a runtime for those that it gets back.
        self.spare().drain(..).for_each(Spare::let_go);
    }
}

/// A connection in use. If its call is given up it is closed: back in the pool it would first be
/// waited for, and where nobody answers that takes until the system gives up, many minutes later.
pub(super) struct Busy {
    of: Arc<Connections>,
    /// Until it is done.
    connection: Option<PoolConnection<Postgres>>,
    taken_at: Instant,
    /// It has had its rehearsal, if there is one.
    ready: bool,
    _permit: OwnedSemaphorePermit,
}

impl Busy {
    pub(super) fn connection(&mut self) -> &mut PgConnection {
        self.connection.as_mut().expect("it is not done yet")
    }

    /// It is at hand for others, once it has had its rehearsal.
    pub(super) fn done(mut self) {
        if !self.ready {
            tokio::spawn(self.get_ready());
        } else if let Some(connection) = self.connection.take() {
            self.of.give_back(Spare {
                connection,
                taken_at: self.taken_at,
                used_at: Instant::now(),
            });
        }
    }

    /// Has it go through its rehearsal.
    pub(super) async fn get_ready(mut self) {
        let of = Arc::clone(&self.of);
        for call in of.rehearsal.get().into_iter().flatten() {
            let query = call.clone().query();
            match query.fetch_all(self.connection()).await {
                Ok(_) => {}
                // Not everybody may make all calls: who may not should not try it again and again.
                Err(error) if leaves_connection(&error) => {
                    of.refused.store(true, Relaxed);
                    break;
                }
                // Calls are slower without it, and no more.
                Err(_) => return,
            }
        }
        self.ready = true;
        self.done();
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        // Without a word, and so that its place is free at once.
        drop(self.connection.take().map(PoolConnection::detach));
    }
}

/// Whether the connection is as good as before: the server has refused the call, and no more.
pub(super) fn leaves_connection(error: &sqlx::Error) -> bool {
    let refusal = error.as_database_error();
    let refusal = refusal.and_then(|refusal| refusal.try_downcast_ref::<PgDatabaseError>());
    refusal.is_some_and(|refusal| matches!(refusal.severity(), PgSeverity::Error))
}
