//! Connections of a pool, and what one is worth after a call.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sqlx::{
    PgConnection, PgPool, Postgres,
    pool::PoolConnection,
    postgres::{PgDatabaseError, PgSeverity},
};
use tokio::time::Instant;

use super::options::{IDLE, is_alive};

/// How long one stays with us before the pool sees it again, which replaces those that are old.
const TURN: Duration = Duration::from_secs(300);

/// Connections of a pool, some of them at hand. A pool asks each connection that it is given back
/// whether it still is one, which costs the server as much as a small call: so one that was just
/// used stays here for the next call.
#[derive(Debug)]
pub(super) struct Connections {
    pub(super) pool: PgPool,
    /// The last one used is the first to be used again, so that the others get idle.
    spare: Mutex<Vec<Spare>>,
    /// How many may stay at hand.
    keep: usize,
}

#[derive(Debug)]
struct Spare {
    connection: PoolConnection<Postgres>,
    taken_at: Instant,
    used_at: Instant,
}

impl Connections {
    pub(super) fn of(pool: PgPool, keep: usize) -> Self {
        Self {
            pool,
            spare: Mutex::default(),
            keep,
        }
    }

    pub(super) async fn acquire(&self) -> sqlx::Result<Busy<'_>> {
        while let Some(mut spare) = self.take() {
            if spare.used_at.elapsed() < IDLE || is_alive(&mut spare.connection).await {
                return Ok(Busy::new(self, spare.connection, spare.taken_at));
            }
            spare.let_go();
        }
        let connection = self.pool.acquire().await?;
        Ok(Busy::new(self, connection, Instant::now()))
    }

    fn spare(&self) -> MutexGuard<'_, Vec<Spare>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Option<Spare> {
        self.spare().pop()
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
pub(super) struct Busy<'a> {
    of: &'a Connections,
    /// Until it is done.
    connection: Option<PoolConnection<Postgres>>,
    taken_at: Instant,
}

impl<'a> Busy<'a> {
    fn new(of: &'a Connections, connection: PoolConnection<Postgres>, taken_at: Instant) -> Self {
        Self {
            of,
            connection: Some(connection),
            taken_at,
        }
    }

    pub(super) fn connection(&mut self) -> &mut PgConnection {
        self.connection.as_mut().expect("it is not done yet")
    }

    pub(super) fn done(mut self) {
        if let Some(connection) = self.connection.take() {
            self.of.give_back(Spare {
                connection,
                taken_at: self.taken_at,
                used_at: Instant::now(),
            });
        }
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        if let Some(connection) = &mut self.connection {
            connection.close_on_drop();
        }
    }
}

/// Whether the connection is as good as before: the server has refused the call, and no more.
pub(super) fn leaves_connection(error: &sqlx::Error) -> bool {
    let refusal = error.as_database_error();
    let refusal = refusal.and_then(|refusal| refusal.try_downcast_ref::<PgDatabaseError>());
    refusal.is_some_and(|refusal| matches!(refusal.severity(), PgSeverity::Error))
}
