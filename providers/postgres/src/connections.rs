//! The connections of a pool, and whether one can be used again after a call.

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
    runtime::Id,
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep, timeout},
};

use bgjob_core::Result;

use super::{
    db::Call,
    error::translate,
    options::{IDLE, is_alive, runtime},
};

/// The longest that a new connection takes, if the server is there and has one left.
const CONNECTS: Duration = Duration::from_millis(250);

/// How long a connection stays here before it goes back to the pool, which replaces old ones.
const TURN: Duration = Duration::from_secs(300);

/// The connections of a pool, some of them at hand. A pool checks each connection that is given
/// back, which costs the server as much as a small call. So a connection that was just used stays
/// here for the next call.
///
/// The first call of a kind takes about ten times as long as the next on the same connection, as
/// the server plans all its statements. So one connection more than is in use is kept ready: its
/// rehearsal (one empty call of each frequent kind) is done.
#[derive(Debug)]
pub(super) struct Connections {
    pool: PgPool,
    /// One for each connection. A caller that waits for a connection queues here. The pool never
    /// sees the connections that come back to hand, so a caller that queued at the pool would wait
    /// for ever.
    permits: Arc<Semaphore>,
    /// The last one used is the first to be used again, so that the others become idle.
    spare: Mutex<Vec<Spare>>,
    /// How many connections may stay at hand.
    keep: usize,
    /// The most frequent calls, with nothing to do.
    rehearsal: OnceLock<Vec<Call>>,
    adding: AtomicBool,
    /// Notified when a connection was given back.
    back: Notify,
    /// The server has refused the rehearsal.
    refused: AtomicBool,
}

#[derive(Debug)]
struct Spare {
    connection: PoolConnection<Postgres>,
    /// The runtime that made the connection, and that it dies with.
    runtime: Id,
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
            back: Notify::new(),
            refused: AtomicBool::new(false),
        }
    }

    /// Makes connections run these calls before they are needed.
    pub(super) fn rehearse(&self, calls: Vec<Call>) {
        let _ = self.rehearsal.set(calls);
    }

    fn rehearses(&self) -> bool {
        self.rehearsal.get().is_some() && !self.refused.load(Relaxed)
    }

    /// Prepares a connection in the background, so that the next call finds one too.
    fn add_soon(self: &Arc<Self>) {
        let open = self.pool.size() as usize;
        if !self.rehearses() || open >= self.keep || self.adding.swap(true, Relaxed) {
            return;
        }
        let adding = Adding(Arc::clone(self));
        tokio::spawn(async move {
            let this = &adding.0;
            if let Ok(permit) = Arc::clone(&this.permits).try_acquire_owned()
                && let Ok(fresh) = this.pool.acquire().await
            {
                this.busy(fresh, Instant::now(), false, permit)
                    .get_ready()
                    .await;
            }
        });
    }

    /// Gives a connection, one of those at hand if there are any. Cancel-safe.
    pub(super) async fn acquire(self: &Arc<Self>) -> Result<Busy> {
        let runtime = runtime()?;
        let permit = Arc::clone(&self.permits).acquire_owned();
        let permit = timeout(self.pool.options().get_acquire_timeout(), permit).await;
        let permit = permit.map_err(|_| translate(sqlx::Error::PoolTimedOut))?;
        let permit = permit.map_err(|_| translate(sqlx::Error::PoolClosed))?;
        loop {
            while let Some(mut spare) = self.take(runtime) {
                if spare.used_at.elapsed() < IDLE || is_alive(&mut spare.connection).await {
                    return Ok(self.busy(spare.connection, spare.taken_at, true, permit));
                }
                spare.let_go();
            }
            // The server may allow fewer connections than there are permits. Then one that is given
            // back is used.
            let back = async {
                sleep(CONNECTS).await;
                self.back.notified().await;
            };
            tokio::select! {
                biased;
                fresh = self.pool.acquire() => {
                    let fresh = fresh.map_err(translate)?;
                    return Ok(self.busy(fresh, Instant::now(), !self.rehearses(), permit));
                }
                () = back => {}
            }
        }
    }

    fn busy(
        self: &Arc<Self>,
        connection: PoolConnection<Postgres>,
        taken_at: Instant,
        ready: bool,
        permit: OwnedSemaphorePermit,
    ) -> Busy {
        Busy {
            of: Arc::clone(self),
            connection: Some(connection),
            taken_at,
            ready,
            _permit: permit,
        }
    }

    fn spare(&self) -> MutexGuard<'_, Vec<Spare>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the connection at hand that this runtime made and used last. A connection dies with
    /// the runtime that made it, even in the middle of a call from another runtime. So a runtime
    /// uses only its own connections; if the pool has no room for a new one, one of another runtime
    /// is closed to make room.
    fn take(self: &Arc<Self>, runtime: Id) -> Option<Spare> {
        let mut spare = self.spare();
        let is_own = |spare: &Spare| spare.runtime == runtime;
        let own = spare.iter().rposition(is_own).map(|n| spare.remove(n));
        if own.is_none() && self.pool.size() >= self.pool.options().get_max_connections() {
            spare.pop().into_iter().for_each(Spare::let_go);
        }
        if !spare.iter().any(is_own) {
            self.add_soon();
        }
        own
    }

    fn give_back(&self, spare: Spare) {
        let mut spares = self.spare();
        if spares.len() < self.keep && spare.taken_at.elapsed() < TURN {
            spares.push(spare);
            self.back.notify_one();
        }
    }
}

/// Only one connection is added at a time. The drop allows the next, even if the runtime ends in
/// the middle.
struct Adding(Arc<Connections>);

impl Drop for Adding {
    fn drop(&mut self) {
        self.0.adding.store(false, Relaxed);
    }
}

impl Spare {
    /// Closes the connection without a farewell, as the server may be gone.
    fn let_go(self) {
        drop(self.connection.detach());
    }
}

impl Drop for Connections {
    fn drop(&mut self) {
        // The pool would need a runtime to take connections back.
        self.spare().drain(..).for_each(Spare::let_go);
    }
}

/// A connection in use. If its call is given up, the connection is closed. A pool that got it back
/// would first wait for the answer; if the server does not answer, that takes until the system
/// gives up, many minutes later.
pub(super) struct Busy {
    of: Arc<Connections>,
    /// `Some` until the connection is done.
    connection: Option<PoolConnection<Postgres>>,
    taken_at: Instant,
    /// The rehearsal is done, or there is none.
    ready: bool,
    _permit: OwnedSemaphorePermit,
}

impl Busy {
    pub(super) fn connection(&mut self) -> &mut PgConnection {
        self.connection.as_mut().expect("it is not done yet")
    }

    /// Puts the connection at hand for others, after its rehearsal.
    pub(super) fn done(mut self) {
        if !self.ready {
            tokio::spawn(self.get_ready());
        } else if let Ok(runtime) = runtime()
            && let Some(connection) = self.connection.take()
        {
            self.of.give_back(Spare {
                connection,
                runtime,
                taken_at: self.taken_at,
                used_at: Instant::now(),
            });
        }
    }

    /// Runs the rehearsal on this connection.
    pub(super) async fn get_ready(mut self) {
        let of = Arc::clone(&self.of);
        for call in of.rehearsal.get().into_iter().flatten() {
            let query = call.clone().query();
            match query.fetch_all(self.connection()).await {
                Ok(_) => {}
                // A user that may not make one of the calls should not try the rehearsal again and
                // again.
                Err(error) if leaves_connection(&error) => {
                    of.refused.store(true, Relaxed);
                    break;
                }
                // Without the rehearsal calls are slower, nothing else.
                Err(_) => return,
            }
        }
        self.ready = true;
        self.done();
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        // Closed without a farewell, so that its place is free at once.
        drop(self.connection.take().map(PoolConnection::detach));
    }
}

/// Whether the connection is as good as before: the server has only refused the call.
pub(super) fn leaves_connection(error: &sqlx::Error) -> bool {
    let refusal = error.as_database_error();
    let refusal = refusal.and_then(|refusal| refusal.try_downcast_ref::<PgDatabaseError>());
    refusal.is_some_and(|refusal| matches!(refusal.severity(), PgSeverity::Error))
}
