//! The tables, and how a database comes to have them.
//!
//! # The shape
//!
//! A job is split, so that its way from `create` to success never rewrites the row that holds its
//! metadata:
//!
//! * `jobs`: the job itself, one row while it lives.
//! * `ready`: a narrow entry for each job that waits, in the order of claims.
//! * `grants`: one row for each claimed *batch*, with the ids of its jobs. `held`: one row for each
//!   job that runs for so long that it is renewed, or is asked to end.
//! * `history`: jobs that are over, out of the way of everything else.
//!
//! A claim deletes entries of `ready` and adds one row to `grants`; success deletes rows of `jobs`
//! and, with the last job of its batch, the row of `grants`.
//!
//! # Who holds a job
//!
//! `jobs.rev` grows with each change of the row. A grant notes the `rev` of each of its jobs; it
//! holds those whose `rev` is still that. So whatever takes a job out of a grant (a retry, a
//! snooze, a release, a revoke, a lease of its own) needs to touch nothing but the job's row, and
//! no late message of an old grant finds anything. All compare-and-set is on this number, or on
//! the entry in `ready` that a claim deletes.

use sqlx::{AssertSqlSafe, PgConnection, Row, raw_sql};

use crate::{Error, ErrorKind, Result};

use super::{error::translate, options::unreachable};

/// Each step takes the schema from the version before (its index) to the next.
const STEPS: &[&str] = &[concat!(
    include_str!("v1.sql"),
    include_str!("v1_functions.sql")
)];

/// One step, ready to be run by hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migration {
    /// The version of the schema after it.
    pub version: usize,
    /// Its statements.
    pub sql: String,
    /// Whether the database has had it.
    pub applied: bool,
}

fn step(schema: &str, version: usize) -> String {
    let statements = STEPS[version - 1].replace("$schema$", schema);
    format!("{statements}INSERT INTO {schema}.migrations(version) VALUES({version});\n")
}

fn first(schema: &str) -> String {
    format!(
        "CREATE SCHEMA IF NOT EXISTS {schema};\n\
         CREATE TABLE IF NOT EXISTS {schema}.migrations(\n    \
             version int PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now());\n"
    )
}

/// All steps, those that were run and those that were not.
pub(super) async fn migrations(db: &mut PgConnection, schema: &str) -> Result<Vec<Migration>> {
    let have = version(db, schema).await?;
    let steps = (1..=STEPS.len()).map(|version| Migration {
        version,
        sql: match version {
            1 => format!("{}{}", first(schema), step(schema, 1)),
            _ => step(schema, version),
        },
        applied: version <= have,
    });
    Ok(steps.collect())
}

/// The version of the tables that are there; 0 where there are none.
async fn version(db: &mut PgConnection, schema: &str) -> Result<usize> {
    // In one message each: a pooler may give the next another connection.
    let there = format!("SELECT to_regclass('{schema}.migrations') IS NOT NULL AS there");
    let row = raw_sql(AssertSqlSafe(there)).fetch_one(&mut *db).await;
    if !row
        .and_then(|row| row.try_get::<bool, _>("there"))
        .map_err(unreachable)?
    {
        return Ok(0);
    }
    let last = format!("SELECT coalesce(max(version), 0) AS version FROM {schema}.migrations");
    let row = raw_sql(AssertSqlSafe(last)).fetch_one(db).await;
    let version: i32 = row
        .and_then(|row| row.try_get("version"))
        .map_err(translate)?;
    Ok(usize::try_from(version).unwrap_or(0))
}

/// Makes sure that the tables are there and of this version; creates what is missing if it may.
///
/// # Errors
/// `Unsupported` where they were made by a newer version, `InvalidInput` where they are missing and
/// may not be made.
pub(super) async fn prepare(db: &mut PgConnection, schema: &str, migrate: bool) -> Result<()> {
    let encoding = raw_sql("SELECT current_setting('server_encoding') AS encoding");
    let row = encoding.fetch_one(&mut *db).await.map_err(unreachable)?;
    let encoding: String = row.try_get("encoding").map_err(translate)?;
    if encoding != "UTF8" {
        return Err(Error::new(
            ErrorKind::Unsupported,
            "jobs are JSON, so the database must be one with the encoding UTF8",
        )
        .with("encoding", encoding));
    }
    let have = version(db, schema).await?;
    check(have, migrate)?;
    if have < STEPS.len() {
        // Two that make a schema at once get in each other's way, once.
        if up(db, schema).await.is_err() {
            up(db, schema).await?;
        }
    }
    Ok(())
}

fn check(have: usize, migrate: bool) -> Result<()> {
    if have > STEPS.len() {
        return Err(Error::new(
            ErrorKind::Unsupported,
            "these tables were made by a newer bgjob: upgrade this program, or give it a schema of \
             its own",
        )
        .with("schema", have)
        .with("known", STEPS.len()));
    }
    if have < STEPS.len() && !migrate {
        return Err(Error::invalid(
            "the tables of bgjob are missing or older than this program: run what \
             `PostgresStore::migrations` prints, or allow it with `?bgjob.migrate=on`",
        )
        .with("schema", have)
        .with("needed", STEPS.len()));
    }
    Ok(())
}

/// Runs the steps that are missing, in one transaction, one process at a time.
async fn up(db: &mut PgConnection, schema: &str) -> Result<()> {
    // The lock is on a table and ends with the transaction, so that it holds behind a pooler too.
    let begin = format!(
        "BEGIN; SET LOCAL statement_timeout = 0; {} \
         LOCK TABLE {schema}.migrations IN ACCESS EXCLUSIVE MODE;",
        first(schema)
    );
    let run = async {
        raw_sql(AssertSqlSafe(begin))
            .execute(&mut *db)
            .await
            .map_err(translate)?;
        let have = version(db, schema).await?;
        check(have, true)?;
        for version in have + 1..=STEPS.len() {
            let sql = step(schema, version);
            raw_sql(AssertSqlSafe(sql))
                .execute(&mut *db)
                .await
                .map_err(translate)?;
        }
        raw_sql("COMMIT").execute(&mut *db).await.map_err(translate)
    };
    match run.await {
        Ok(_) => Ok(()),
        Err(error) => {
            raw_sql("ROLLBACK").execute(db).await.ok();
            Err(error)
        }
    }
}
