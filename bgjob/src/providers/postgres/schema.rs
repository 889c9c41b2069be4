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
//! * `history`: jobs that are over, out of the way of everything else; a table for each span of
//!   time, as to drop a table costs nothing.
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

use super::{
    error::translate,
    options::{PostgresOptions, unreachable},
};

/// Each step takes the schema from the version before (its index) to the next.
const STEPS: &[Step] = &[
    Step {
        statements: concat!(
            include_str!("v1.sql"),
            include_str!("v1_functions.sql"),
            include_str!("v1_history.sql")
        ),
        oldest: 1,
    },
    Step {
        statements: include_str!("v2.sql"),
        oldest: 1,
    },
];

/// The version of the schema that this program knows.
pub(super) const KNOWN: usize = STEPS.len();

struct Step {
    statements: &'static str,
    /// Programs that know this version can work with the tables that it leaves: old and new ones
    /// run side by side while a deployment goes on.
    oldest: usize,
}

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
    let Step { statements, oldest } = &STEPS[version - 1];
    let statements = statements.replace("$schema$", schema);
    format!(
        "{statements}INSERT INTO {schema}.migrations(version, oldest) \
         VALUES({version}, {oldest});\n"
    )
}

fn first(schema: &str) -> String {
    format!(
        "CREATE SCHEMA IF NOT EXISTS {schema};\n\
         CREATE TABLE IF NOT EXISTS {schema}.migrations(\n    \
             version int PRIMARY KEY, oldest int NOT NULL, \
             applied_at timestamptz NOT NULL DEFAULT now());\n"
    )
}

/// All steps, those that were run and those that were not.
pub(super) async fn migrations(db: &mut PgConnection, schema: &str) -> Result<Vec<Migration>> {
    let have = tables(db, schema).await?.version;
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

/// The tables that are there.
#[derive(Debug, Clone, Copy, Default)]
struct Tables {
    /// 0 where there are none.
    version: usize,
    /// Programs that know this version can work with them.
    oldest: usize,
}

async fn tables(db: &mut PgConnection, schema: &str) -> Result<Tables> {
    // In one message each: a pooler may give the next another connection.
    let there = format!("SELECT to_regclass('{schema}.migrations') IS NOT NULL AS there");
    let row = raw_sql(AssertSqlSafe(there)).fetch_one(&mut *db).await;
    if !row
        .and_then(|row| row.try_get::<bool, _>("there"))
        .map_err(unreachable)?
    {
        return Ok(Tables::default());
    }
    let last =
        format!("SELECT version, oldest FROM {schema}.migrations ORDER BY version DESC LIMIT 1");
    let row = raw_sql(AssertSqlSafe(last)).fetch_optional(db).await;
    let Some(row) = row.map_err(translate)? else {
        return Ok(Tables::default());
    };
    let number = |column| {
        let number: i32 = row.try_get(column).map_err(translate)?;
        Ok(usize::try_from(number).unwrap_or(0))
    };
    Ok(Tables {
        version: number("version")?,
        oldest: number("oldest")?,
    })
}

/// Makes sure that the tables are there and fit this program; creates what is missing if it may.
///
/// # Errors
/// `Unsupported` where they were made by a version that is too new, `InvalidInput` where they are
/// missing and may not be made.
pub(super) async fn prepare(db: &mut PgConnection, options: &PostgresOptions) -> Result<()> {
    let (schema, migrate, known) = (&options.schema, options.migrate, options.known);
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
    let have = tables(db, schema).await?;
    check(have, migrate, known)?;
    if have.version < known {
        // Two that make a schema at once get in each other's way, once.
        if up(db, schema, known).await.is_err() {
            up(db, schema, known).await?;
        }
    }
    Ok(())
}

fn check(have: Tables, migrate: bool, known: usize) -> Result<()> {
    if have.oldest > known {
        return Err(Error::new(
            ErrorKind::Unsupported,
            "these tables were made by a newer bgjob: upgrade this program, or give it a schema of \
             its own",
        )
        .with("schema", have.version)
        .with("known", known));
    }
    if have.version < known && !migrate {
        return Err(Error::invalid(
            "the tables of bgjob are missing or older than this program: call \
             `PostgresStore::migrate`, run what `PostgresStore::migrations` answers, or allow it \
             with `?bgjob.migrate=on`",
        )
        .with("schema", have.version)
        .with("needed", known));
    }
    Ok(())
}

/// Runs the steps that are missing, in one transaction, one process at a time.
async fn up(db: &mut PgConnection, schema: &str, known: usize) -> Result<()> {
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
        let have = tables(db, schema).await?;
        check(have, true, known)?;
        for version in have.version + 1..=known {
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
