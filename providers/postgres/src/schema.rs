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
//!   job that runs long enough to be renewed, or is asked to end.
//! * `history`: jobs that are over, out of the way of everything else. It has one table for each
//!   span of time, as dropping a table costs nothing.
//!
//! A claim deletes entries of `ready` and adds one row to `grants`; success deletes rows of `jobs`
//! and, with the last job of its batch, the row of `grants`.
//!
//! # Who holds a job
//!
//! `jobs.rev` grows with each change of the row. A grant notes the `rev` of each of its jobs, and
//! holds those whose `rev` is still the same. So a step that takes a job out of a grant (a retry, a
//! snooze, a release, a revoke, a lease of its own) needs to change nothing but the job's row, and
//! a late message of an old grant finds nothing. All compare-and-set is on this number, or on the
//! entry in `ready` that a claim deletes.

use sqlx::{AssertSqlSafe, PgConnection, Row, raw_sql};

use bgjob_core::{Error, ErrorKind, Result};

use super::{
    error::{ROWS_HIDDEN, is_others, translate},
    options::{PostgresOptions, unreachable},
};

/// The statements of one step, from its files in this order.
macro_rules! step {
    ($folder:literal: $($file:literal),+) => {
        Step {
            statements: concat!($(include_str!(concat!(
                "../sql/", $folder, "/", $file, ".sql"
            ))),+),
            oldest: 1,
        }
    };
}

/// Each step takes the schema from the version before (its index) to the next. A step that a
/// database has had is never run again, so its statements stay as they are.
const STEPS: &[Step] = &[
    step!("v1": "tables", "common", "create", "claim", "hold", "end", "renew", "save", "sweep",
        "history"),
    step!("v2": "within"),
    step!("v3": "kinds", "claim", "forget", "times", "spans", "within", "enqueue", "tallies",
        "read", "end", "save", "purge"),
];

/// The version of the schema that this program knows.
pub(super) const KNOWN: usize = STEPS.len();

struct Step {
    statements: &'static str,
    /// Programs that know this version can work with the tables of this step: old and new programs
    /// run side by side during a deployment.
    oldest: usize,
}

/// One step, as SQL to run by hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migration {
    /// The version of the schema after it.
    pub version: usize,
    /// Its statements.
    pub sql: String,
    /// Whether the database has had it.
    pub applied: bool,
}

/// A schema's name for statements: quoted, as it may be a keyword of SQL.
pub(super) fn quoted(schema: &str) -> String {
    format!("\"{schema}\"")
}

/// The name of the channel of a schema's notifications.
pub(super) fn channel(schema: &str) -> String {
    format!("bgjob_{schema}")
}

fn step(schema: &str, version: usize) -> String {
    let Step { statements, oldest } = &STEPS[version - 1];
    let quoted = quoted(schema);
    let statements = statements
        .replace("bgjob_$schema$", &channel(schema))
        .replace("$schema$", &quoted);
    format!(
        "{statements}INSERT INTO {quoted}.migrations(version, oldest) \
         VALUES({version}, {oldest});\n"
    )
}

fn first(schema: &str) -> String {
    let schema = quoted(schema);
    // `IF NOT EXISTS` needs the right to create a schema even if the schema exists.
    format!(
        "DO $$ BEGIN IF to_regnamespace('{schema}') IS NULL THEN CREATE SCHEMA {schema}; \
             END IF; END $$;\n\
         CREATE TABLE IF NOT EXISTS {schema}.migrations(\n    \
             version int PRIMARY KEY, oldest int NOT NULL, \
             applied_at timestamptz NOT NULL DEFAULT now());\n"
    )
}

/// All steps, with whether the database has had them.
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

/// The names of bgjob's tables, as a regular expression.
const TABLES: &str =
    "^(migrations|lanes|jobs|ready|grants|held|history(_.*)?|gone|gone_own|sleep)$";

/// Explains the error if the schema holds something of the user's that is named like a table of
/// bgjob.
fn others(error: Error) -> Error {
    if !is_others(&error) {
        return error;
    }
    Error::invalid(
        "the schema has something of another program's that is named like a table or function of \
         bgjob: give bgjob a schema of its own with `?bgjob.schema=…`",
    )
    .because(error)
}

/// The version of the tables that are there.
#[derive(Debug, Clone, Copy, Default)]
struct Tables {
    /// 0 where there are none.
    version: usize,
    /// Programs that know this version can work with them.
    oldest: usize,
}

async fn tables(db: &mut PgConnection, schema: &str) -> Result<Tables> {
    let schema = quoted(schema);
    // One message each: behind a pooler the next message may use another connection.
    let there = format!(
        "SELECT to_regclass('{schema}.migrations') IS NOT NULL AS there, (\
             SELECT c.relname::text FROM pg_class c \
             WHERE c.relnamespace = to_regnamespace('{schema}') AND c.relkind IN ('r', 'p') \
             AND c.relname ~ '{TABLES}' AND row_security_active(c.oid) LIMIT 1) AS hidden"
    );
    let row = raw_sql(AssertSqlSafe(there)).fetch_one(&mut *db).await;
    let row = row.map_err(unreachable)?;
    if let Some(table) = row
        .try_get::<Option<String>, _>("hidden")
        .map_err(translate)?
    {
        return Err(Error::invalid(ROWS_HIDDEN).with("table", table));
    }
    if !row.try_get::<bool, _>("there").map_err(translate)? {
        return Ok(Tables::default());
    }
    let last =
        format!("SELECT version, oldest FROM {schema}.migrations ORDER BY version DESC LIMIT 1");
    let row = raw_sql(AssertSqlSafe(last)).fetch_optional(db).await;
    let Some(row) = row.map_err(|error| others(translate(error)))? else {
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

/// Makes sure that the tables exist and fit this program; creates what is missing if allowed.
///
/// # Errors
/// `Unsupported` if a newer bgjob made the tables, `InvalidInput` if they are missing or older and
/// may not be changed.
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
        // Two processes that create a schema at the same time get in each other's way, but only
        // once.
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

/// Runs the missing steps, in one transaction, in one process at a time.
async fn up(db: &mut PgConnection, schema: &str, known: usize) -> Result<()> {
    // The lock is on a table and ends with the transaction, so that it works behind a pooler too.
    let begin = format!(
        "BEGIN; SET LOCAL statement_timeout = 0; {} \
         LOCK TABLE {}.migrations IN ACCESS EXCLUSIVE MODE;",
        first(schema),
        quoted(schema)
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
                .map_err(|error| others(translate(error)))?;
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

#[cfg(test)]
mod tests {
    use super::STEPS;

    /// A hash (FNV-1a) of the statements without comments and white space.
    fn hash(statements: &str) -> u64 {
        let code = statements
            .lines()
            .filter_map(|line| line.split("--").next());
        let bytes = code
            .flat_map(str::bytes)
            .filter(|byte| !byte.is_ascii_whitespace());
        bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
    }

    /// Databases that have had a step never get it again. If its statements changed, they would
    /// have other functions than new databases of the same version, and no test would see that.
    #[test]
    fn steps_stay_as_they_were_applied() {
        let hashes: Vec<String> = STEPS
            .iter()
            .map(|step| format!("{:016x}", hash(step.statements)))
            .collect();
        let expected = ["d51edd5df0685c54", "5f39ad407978da2e", "c9af4411571fae04"];
        assert_eq!(hashes, expected, "put the change into a new step");
    }
}
