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
    runtime::Id,
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep, timeout},
};

use crate::Result;

use super::{
    db::Call,
    error::translate,
    options::{IDLE, is_alive, runtime},
};

/// So long a new one takes at most, where the server is there and has one left.
const CONNECTS: Duration = Duration::from_millis(250);

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
    /// One was given back.
    back: Notify,
    /// The server would not have the rehearsal.
    refused: AtomicBool,
}

#[derive(Debug)]
struct Spare {
    connection: PoolConnection<Postgres>,
    /// The one that it was made in, and dies with.
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

    /// A connection, of those at hand if there are any. Cancel-safe.
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
            // The server may allow fewer than there are permits: then one that comes back will do.
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

    /// The last one used that this runtime has made. A connection dies with the runtime that it was
    /// made in, in the middle of a call of another one's too; so where there is room for no other,
    /// one of theirs makes it.
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

/// Only one connection is added at a time, also where the runtime ends in the middle of it.
struct Adding(Arc<Connections>);

impl Drop for Adding {
    fn drop(&mut self) {
        self.0.adding.store(false, Relaxed);
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
