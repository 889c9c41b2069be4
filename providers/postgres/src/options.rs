//! How a database is used.

use std::{fmt, sync::Arc, time::Duration};

use sqlx::{
    Connection, PgConnection,
    postgres::{PgConnectOptions, PgPool, PgPoolOptions},
};
use tokio::runtime::{self, Handle};

use bgjob_core::{Clock, Error, ErrorKind, Result};

use super::{PostgresStore, error::translate, schema::KNOWN};

/// How a database is used.
///
/// ```no_run
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// use bgjob::providers::postgres::PostgresOptions;
///
/// let options = PostgresOptions::from_url("postgres://me@localhost/app")?;
/// let store = options.schema("jobs").connections(4).open().await?;
/// # drop(store);
/// # Ok::<(), bgjob::Error>(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct PostgresOptions {
    pub(super) connect: PgConnectOptions,
    pub(super) pool: Option<PgPool>,
    pub(super) schema: String,
    pub(super) connections: u32,
    pub(super) migrate: bool,
    pub(super) pooled: bool,
    pub(super) clock: Option<Arc<dyn Clock>>,
    /// The latest version of the schema that this program knows.
    pub(super) known: usize,
}

/// The time limit of a statement. A dispatcher waits 10 s for a call; this is less, so that the
/// dispatcher receives the server's answer that the statement was cancelled.
pub(super) const STATEMENT: Duration = Duration::from_secs(8);

/// A connection that was idle for this long is checked before use.
pub(super) const IDLE: Duration = Duration::from_secs(1);

impl PostgresOptions {
    /// The schema of the tables by default.
    pub const SCHEMA: &'static str = "bgjob";

    /// From a URL, `postgres://user:password@host:port/database?sslmode=…`, as
    /// [sqlx reads it](https://docs.rs/sqlx/0.9/sqlx/postgres/struct.PgConnectOptions.html), with
    /// these options of bgjob's own:
    ///
    /// | option | default | |
    /// |---|---|---|
    /// | `bgjob.schema` | `bgjob` | see [`schema`](Self::schema) |
    /// | `bgjob.connections` | 8 | see [`connections`](Self::connections) |
    /// | `bgjob.migrate` | `on` | see [`migrate`](Self::migrate) |
    /// | `bgjob.pooler` | `off` | `transaction`: see [`behind_pooler`](Self::behind_pooler) |
    ///
    /// # Errors
    /// `InvalidInput` for text that is not such a URL, for an unknown option of bgjob, and for an
    /// option of bgjob without its `bgjob.` (`?schema=…`).
    pub fn from_url(url: &str) -> Result<Self> {
        super::url::parse(url)
    }

    pub(super) fn new(connect: PgConnectOptions) -> Self {
        Self {
            connect,
            pool: None,
            schema: Self::SCHEMA.to_owned(),
            connections: 8,
            migrate: true,
            pooled: false,
            clock: None,
            known: KNOWN,
        }
    }

    /// Uses the connections of an existing pool. The pool's own `statement_timeout` then limits
    /// statements. Listening for work and renewing leases use connections of their own.
    ///
    /// ```no_run
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// use bgjob::{JobManager, providers::postgres::PostgresOptions};
    ///
    /// let pool = sqlx::PgPool::connect_lazy("postgres://me@localhost/app").expect("it is a URL");
    /// let store = PostgresOptions::from_pool(pool.clone()).open().await?;
    /// let jobs = JobManager::builder(store).build()?;
    /// # drop(jobs);
    /// # Ok::<(), bgjob::Error>(()) }).unwrap();
    /// ```
    pub fn from_pool(pool: PgPool) -> Self {
        let connect = pool.connect_options().as_ref().clone();
        Self {
            pool: Some(pool),
            ..Self::new(connect)
        }
    }

    /// The schema of the tables: lower-case letters, digits and `_`, not starting with a digit, at
    /// most 40 bytes, and none of PostgreSQL's own names. One database can hold several schemas of
    /// bgjob.
    ///
    /// ```
    /// use bgjob::providers::postgres::PostgresOptions;
    ///
    /// let options = PostgresOptions::from_url("postgres://localhost/app")?.schema("jobs_of_mail");
    /// # drop(options); Ok::<(), bgjob::Error>(())
    /// ```
    #[must_use]
    pub fn schema(mut self, name: &str) -> Self {
        name.clone_into(&mut self.schema);
        self
    }

    /// The most connections for calls, 1 to 1000. Default 8. Up to four more renew leases and send
    /// and receive notifications.
    ///
    /// ```
    /// use bgjob::providers::postgres::PostgresOptions;
    ///
    /// let few = PostgresOptions::from_url("postgres://localhost/app")?.connections(3);
    /// # drop(few); Ok::<(), bgjob::Error>(())
    /// ```
    #[must_use]
    pub const fn connections(mut self, count: u32) -> Self {
        self.connections = count;
        self
    }

    /// Whether opening the store creates the tables or brings them up to date. Default true. With
    /// false, a database whose tables are missing or older is refused; see
    /// [`PostgresStore::migrate`] and [`PostgresStore::migrations`].
    ///
    /// ```
    /// use bgjob::providers::postgres::PostgresOptions;
    ///
    /// let app = PostgresOptions::from_url("postgres://app@localhost/app")?.migrate(false);
    /// # drop(app); Ok::<(), bgjob::Error>(())
    /// ```
    #[must_use]
    pub const fn migrate(mut self, migrate: bool) -> Self {
        self.migrate = migrate;
        self
    }

    /// For a server behind a pooler that gives a connection for one transaction only (PgBouncer
    /// with `pool_mode = transaction`). Statements are then not prepared, and notifications are not
    /// used: a waiter finds the work of other processes by polling each second, and each call is a
    /// transaction of five round trips.
    ///
    /// ```
    /// use bgjob::providers::postgres::PostgresOptions;
    ///
    /// let options = PostgresOptions::from_url("postgres://localhost:6432/app")?.behind_pooler();
    /// # drop(options); Ok::<(), bgjob::Error>(())
    /// ```
    #[must_use]
    pub fn behind_pooler(mut self) -> Self {
        self.pooled = true;
        self.connect = self
            .connect
            .statement_cache_capacity(0)
            // PgBouncer refuses a connection that sets a parameter it does not know.
            .extra_float_digits(None);
        self
    }

    /// The clock, for tests with a clock of their own. By default the server's.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Acts as a program that knows the schema up to this version, so that a test can run an older
    /// one.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn as_of(mut self, version: usize) -> Self {
        self.known = version;
        self
    }

    /// Opens the store.
    ///
    /// # Errors
    /// `InvalidInput` if the database, the user or the password is wrong, `Unavailable` if the
    /// server can't be reached, `Unsupported` if a newer bgjob made the tables.
    pub async fn open(self) -> Result<PostgresStore> {
        self.check()?;
        PostgresStore::start(self).await
    }

    pub(super) fn check(&self) -> Result<()> {
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        let name = self.schema.as_bytes();
        if name.is_empty()
            || name.len() > 40
            || !name.iter().copied().all(fits)
            || name[0].is_ascii_digit()
            || self.schema.starts_with("pg_")
            || self.schema == "information_schema"
        {
            return Err(Error::invalid(
                "a schema's name has 1 to 40 lower-case letters, digits and `_`, does not start \
                 with a digit, and is none of PostgreSQL's own (`pg_…`, `information_schema`)",
            )
            .with("schema", self.schema.escape_debug()));
        }
        if !(1..=1000).contains(&self.connections) {
            return Err(Error::invalid(
                "`bgjob.connections` is a number from 1 to 1000",
            ));
        }
        Ok(())
    }

    /// Opens the first connection, without a pool of our own: a pool would try a host on which
    /// nothing listens again and again, until its time is up.
    pub(super) async fn first(&self) -> Result<PgConnection> {
        runtime()?;
        let connecting = match &self.pool {
            // The program may set up the connections of its pool further than the pool's options
            // say.
            Some(pool) if pool.num_idle() > 0 => return Self::first_of(pool).await,
            Some(pool) => pool.connect_options().as_ref().clone(),
            None => self.connecting(),
        };
        let first = tokio::time::timeout(STATEMENT, PgConnection::connect_with(&connecting));
        let first = first.await.unwrap_or(Err(sqlx::Error::PoolTimedOut));
        let first = first.map_err(unreachable)?;
        let Some(pool) = &self.pool else {
            return Ok(first);
        };
        first.close().await.ok();
        Self::first_of(pool).await
    }

    async fn first_of(pool: &PgPool) -> Result<PgConnection> {
        let first = pool.acquire().await.map_err(unreachable)?;
        Ok(first.detach())
    }

    /// The pool of connections for calls.
    pub(super) fn calls(&self) -> PgPool {
        match &self.pool {
            Some(pool) => pool.clone(),
            None => self.own_pool(self.connections),
        }
    }

    /// How many connections for calls may stay at hand between calls: none of a pool that others
    /// use too.
    pub(super) fn at_hand(&self) -> usize {
        let ours = self.pool.is_none().then_some(self.connections);
        usize::try_from(ours.unwrap_or(0)).unwrap_or(0)
    }

    /// A pool of at most this many connections of our own, made when they are needed.
    pub(super) fn own_pool(&self, connections: u32) -> PgPool {
        // A server that went away, or a runtime that ended, leaves dead connections in the pool.
        // One in use reports that by an error. One that was idle is checked first, so that not each
        // dead connection costs a call.
        self.pool_of(connections)
            .before_acquire(|connection, _| Box::pin(async { Ok(is_alive(connection).await) }))
            .connect_lazy_with(self.connecting())
    }

    /// The pool of connections for renewing leases. They die with the runtime of the thread that
    /// made them, so the next dispatcher of the process has to check each.
    pub(super) fn renewals(&self) -> PgPool {
        self.pool_of(2)
            .test_before_acquire(true)
            .connect_lazy_with(self.connecting())
    }

    fn pool_of(&self, connections: u32) -> PgPoolOptions {
        PgPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(STATEMENT)
            .test_before_acquire(false)
    }

    fn connecting(&self) -> PgConnectOptions {
        let mut connect = self.connect.clone();
        if connect.get_application_name().is_none() {
            connect = connect.application_name("bgjob");
        }
        if !self.pooled {
            let statement = STATEMENT.as_millis().to_string();
            connect = connect.options([
                ("statement_timeout", statement.as_str()),
                ("idle_in_transaction_session_timeout", "30000"),
                ("jit", "off"),
                // Each statement of a function must see what was committed before it.
                ("default_transaction_isolation", "read committed"),
                // A setting of the user or the database must not apply to the statements of bgjob.
                ("search_path", "pg_catalog"),
                // If row security would hide rows from us, the server must report an error.
                ("row_security", "off"),
            ]);
        }
        connect
    }
}

impl fmt::Debug for PostgresOptions {
    /// Leaves out the password, wherever it came from.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresOptions")
            .field("host", &self.connect.get_host())
            .field("port", &self.connect.get_port())
            .field("user", &self.connect.get_username())
            .field("database", &self.connect.get_database())
            .field("schema", &self.schema)
            .field("connections", &self.connections)
            .field("migrate", &self.migrate)
            .field("pooled", &self.pooled)
            .finish_non_exhaustive()
    }
}

/// The runtime of the caller.
///
/// # Errors
/// `Unsupported` outside a tokio runtime.
pub(super) fn runtime() -> Result<runtime::Id> {
    Handle::try_current()
        .map(|runtime| runtime.id())
        .map_err(|_| {
            Error::new(
                ErrorKind::Unsupported,
                "PostgreSQL needs a runtime of tokio's with everything enabled: call it from \
             `#[tokio::main]`, or within `Runtime::block_on`",
            )
        })
}

/// Whether a connection still works. If the server does not answer, not even with a refusal, this
/// check must leave enough of the call's [`STATEMENT`] time to connect anew.
pub(super) async fn is_alive(connection: &mut PgConnection) -> bool {
    let answer = tokio::time::timeout(STATEMENT / 4, connection.ping()).await;
    answer.is_ok_and(|answer| answer.is_ok())
}

/// The error of opening a database: a server that is not ready yet is `Unavailable`.
pub(super) fn unreachable(error: sqlx::Error) -> Error {
    let error = translate(error);
    if error.kind() == ErrorKind::Internal {
        return Error::new(ErrorKind::Unavailable, "PostgreSQL can't be reached").because(error);
    }
    error
}
