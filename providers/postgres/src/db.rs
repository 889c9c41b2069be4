//! Calls to the server.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use sqlx::{
    Arguments, AssertSqlSafe, Connection, Encode, PgConnection, Postgres, Row, Type,
    postgres::{PgArguments, PgRow},
    query::Query,
    raw_sql,
};
use tokio::time::Instant;
use uuid::Uuid;

use bgjob_core::{
    Clock, Error, ErrorKind, JobId, Result,
    job::{JobSpec, Serves},
    store::Want,
};

use super::{
    connections::{Busy, Connections, leaves_connection},
    create::millis,
    error::{is_forbidden, is_in_the_way, translate},
    floors::Floors,
    lanes::{Lane, Lanes, Number, lane},
    options::{PostgresOptions, STATEMENT},
    rows::Skipped,
    sql::Sql,
};

/// A statement of [`Sql`] with its values.
#[derive(Debug, Clone)]
pub(super) struct Call {
    sql: Arc<str>,
    values: PgArguments,
}

impl Call {
    pub(super) fn bind<'q>(mut self, value: impl Encode<'q, Postgres> + Type<Postgres>) -> Self {
        let added = self.values.add(value);
        added.expect("a batch has a bound, so that its values can be written");
        self
    }

    pub(super) fn query(self) -> Query<'static, Postgres, PgArguments> {
        sqlx::query_with(AssertSqlSafe(self.sql), self.values)
    }
}

/// The most tries of a call that another transaction got in the way of. The server has rolled back
/// all that the call did.
const TRIES: usize = 4;

/// The server, and what this process knows of it.
#[derive(Debug)]
pub(super) struct Db {
    pub(super) sql: Sql,
    pub(super) lanes: Lanes,
    pub(super) floors: Floors,
    pub(super) skipped: Skipped,
    calls: Arc<Connections>,
    /// Renewals come from a runtime of their own, so they need connections of their own.
    renewals: Arc<Connections>,
    pooled: bool,
    /// A test's clock. `None`: the server's clock.
    clock: Option<Arc<dyn Clock>>,
    /// Whether the index for touches is known to be there.
    touches: AtomicBool,
    /// When this process last noted in the database that somebody waits for work.
    asleep: Mutex<Option<Instant>>,
}

/// How long a note that somebody waits for work is valid.
const ASLEEP: Duration = Duration::from_secs(20);

/// Prepares a statement of [`Sql`].
pub(super) fn call(sql: &Arc<str>) -> Call {
    Call {
        sql: Arc::clone(sql),
        values: PgArguments::default(),
    }
}

impl Db {
    pub(super) fn new(options: &PostgresOptions) -> Self {
        Self {
            sql: Sql::new(&options.schema),
            lanes: Lanes::default(),
            floors: Floors::default(),
            skipped: Skipped::default(),
            calls: Arc::new(Connections::of(options.calls(), options.at_hand())),
            renewals: Arc::new(Connections::of(options.renewals(), 0)),
            pooled: options.pooled,
            clock: options.clock.clone(),
            touches: AtomicBool::new(false),
            asleep: Mutex::default(),
        }
    }

    /// Makes connections run the most frequent calls before they are needed, this one first. The
    /// tables must exist.
    pub(super) async fn rehearse(&self, first: Busy, options: &PostgresOptions) {
        if options.at_hand() > 0 && !options.pooled {
            let nothing = [self.creation(&[], &[], true)];
            let calls = nothing.into_iter().chain(self.no_claims());
            self.calls.rehearse(calls.collect());
        }
        first.get_ready().await;
    }

    /// A connection for uses other than a [`Call`].
    pub(super) async fn connection(&self) -> Result<Busy> {
        self.calls.acquire().await
    }

    /// Whether a commit is on the disk when the server acknowledges it.
    pub(super) async fn is_durable(&self) -> Result<bool> {
        let ask = "SELECT current_setting('fsync') = 'on' \
                   AND current_setting('synchronous_commit') <> 'off' AS durable";
        let row = self.row(call(&ask.into())).await?;
        row.try_get("durable").map_err(translate)
    }

    /// The current time of a test's clock. `None`: the server's time applies.
    pub(super) fn clock(&self) -> Option<i64> {
        self.clock.as_ref().map(|clock| clock.now().as_millis())
    }

    /// Runs a statement.
    pub(super) async fn rows(&self, call: Call) -> Result<Vec<PgRow>> {
        self.run(&self.calls, call).await
    }

    /// Runs a statement that returns one row.
    pub(super) async fn row(&self, call: Call) -> Result<PgRow> {
        let mut rows = self.rows(call).await?;
        rows.pop()
            .ok_or_else(|| translate(sqlx::Error::RowNotFound))
    }

    /// Runs a statement on behalf of the lease thread.
    pub(super) async fn renewal(&self, call: Call) -> Result<Vec<PgRow>> {
        self.run(&self.renewals, call).await
    }

    async fn run(&self, connections: &Arc<Connections>, call: Call) -> Result<Vec<PgRow>> {
        let mut busy = connections.acquire().await?;
        let mut tries = 1..TRIES;
        let rows = loop {
            let rows = self.run_on(busy.connection(), call.clone()).await;
            match rows {
                Err(error) if is_in_the_way(&error) && tries.next().is_some() => {}
                rows => break rows,
            }
        };
        if rows.as_ref().err().is_none_or(leaves_connection) {
            busy.done();
        }
        rows.map_err(translate)
    }

    async fn run_on(&self, connection: &mut PgConnection, call: Call) -> sqlx::Result<Vec<PgRow>> {
        if !self.pooled {
            return call.query().fetch_all(connection).await;
        }
        // Behind a pooler nothing outlives a transaction, neither settings nor prepared statements.
        let mut tx = connection.begin().await?;
        let set = format!(
            "SET LOCAL statement_timeout = {}; SET LOCAL jit = off; SET LOCAL row_security = off",
            STATEMENT.as_millis()
        );
        raw_sql(AssertSqlSafe(set)).execute(&mut *tx).await?;
        let rows = call.query().persistent(false).fetch_all(&mut *tx).await?;
        tx.commit().await.map(|()| rows)
    }

    /// The numbers of these jobs' lanes. New lanes are added, in a transaction of their own: a
    /// caller that enqueues in its own transaction must not hold up others that use the same lane
    /// first.
    pub(super) async fn intern<'a>(
        &self,
        specs: impl Iterator<Item = &'a Arc<JobSpec>> + Clone,
    ) -> Result<Vec<Number>> {
        let mut last: Option<(Lane, Number)> = None;
        let mut numbers = Vec::new();
        for spec in specs.clone() {
            // Most batches have one lane.
            if let Some((lane, number)) = &last
                && (lane.version, &lane.name, &lane.queue)
                    == (spec.version, &spec.name, &spec.queue)
            {
                numbers.push(*number);
                continue;
            }
            let lane = Lane::of(spec);
            let number = match self.lanes.number(&lane) {
                Some(number) => number,
                None => self.add_lanes(specs.clone(), &lane).await?,
            };
            numbers.push(number);
            last = Some((lane, number));
        }
        Ok(numbers)
    }

    async fn add_lanes<'a>(
        &self,
        specs: impl Iterator<Item = &'a Arc<JobSpec>>,
        wanted: &Lane,
    ) -> Result<Number> {
        let mut seen = HashSet::from([wanted.clone()]);
        let others = specs.map(|spec| Lane::of(spec));
        seen.extend(others.filter(|lane| self.lanes.number(lane).is_none()));
        let new: Vec<Lane> = seen.into_iter().collect();
        let queues: Vec<&str> = new.iter().map(|lane| &*lane.queue).collect();
        let names: Vec<&str> = new.iter().map(|lane| &*lane.name).collect();
        let versions: Vec<i64> = new.iter().map(|lane| lane.version.into()).collect();
        let add = call(&self.sql.add_lanes)
            .bind(queues)
            .bind(names)
            .bind(versions);
        let lanes = self.lanes_in(add).await?;
        self.lanes.keep(&lanes);
        let wanted = lanes.into_iter().find(|(_, lane)| lane == wanted);
        wanted.map(|(number, _)| number).ok_or_else(no_number)
    }

    /// Reads anew which lanes there are for the served jobs.
    pub(super) async fn learn(&self, want: &[Want], serves: &Serves) -> Result<()> {
        let (names, versions) = versions(serves);
        let served = call(&self.sql.served_lanes)
            .bind(queues(want))
            .bind(names)
            .bind(versions);
        let lanes = self.lanes_in(served).await?;
        self.lanes.serve(lanes);
        Ok(())
    }

    async fn lanes_in(&self, call: Call) -> Result<Vec<(Number, Lane)>> {
        let rows = self.rows(call).await?;
        let lanes = rows.iter().map(lane).filter_map(sqlx::Result::transpose);
        lanes.collect::<sqlx::Result<_>>().map_err(translate)
    }

    /// Forgets all that depends on the numbers of lanes, as they have changed.
    pub(super) fn forget_numbers(&self) {
        self.lanes.forget();
        self.floors.forget();
    }

    /// Whether this process has noted that somebody waits, for at least half of [`ASLEEP`] to come.
    pub(super) fn is_known_to_sleep(&self) -> bool {
        let asleep = self.asleep.lock().unwrap_or_else(PoisonError::into_inner);
        asleep.is_some_and(|since| since.elapsed() < ASLEEP / 2)
    }

    /// Notes in the database that somebody waits for work, so that commits of other processes
    /// notify. Returns whether that worked.
    pub(super) async fn fall_asleep(&self) -> bool {
        let note = call(&self.sql.asleep)
            .bind(self.clock())
            .bind(millis(ASLEEP));
        let noted = self.rows(note).await.is_ok();
        if noted {
            let mut asleep = self.asleep.lock().unwrap_or_else(PoisonError::into_inner);
            *asleep = Some(Instant::now());
        }
        noted
    }

    /// Makes sure that there is an index for touches. It is not made earlier, as a database without
    /// a queue beside it should not pay for the index with each job.
    pub(super) async fn index_touches(&self) -> Result<()> {
        if !self.touches.load(Relaxed) {
            match self.rows(call(&self.sql.index_touches)).await {
                // Only the owner of the table may create the index. Without it a sweep reads all
                // entries.
                Err(error) if !is_forbidden(&error) => return Err(error),
                _ => self.touches.store(true, Relaxed),
            }
        }
        Ok(())
    }
}

fn no_number() -> Error {
    Error::new(
        ErrorKind::Unavailable,
        "a new kind of job could not be noted: its row of `lanes` is not there after it was added",
    )
}

/// The queues of a claim.
pub(super) fn queues(want: &[Want]) -> Vec<&str> {
    want.iter().map(|want| &*want.queue).collect()
}

/// The served names, and the highest version of each.
pub(super) fn versions(serves: &Serves) -> (Vec<&str>, Vec<i64>) {
    let pairs = serves.jobs.iter();
    pairs
        .map(|(name, version)| (&**name, i64::from(*version)))
        .unzip()
}

/// Ids in the form that the server takes.
pub(super) fn uuids<'a>(ids: impl IntoIterator<Item = &'a JobId>) -> Vec<Uuid> {
    ids.into_iter().map(|id| Uuid::from(*id)).collect()
}

/// A column of ids.
pub(super) fn ids(row: &PgRow) -> Result<Vec<JobId>> {
    let ids: Vec<Uuid> = row.try_get("ids").map_err(translate)?;
    Ok(ids.into_iter().map(JobId::from).collect())
}
