//! The job, and the table it writes to.

use bgjob::{prelude::*, providers::postgres::JobTransaction};
use serde::{Deserialize, Serialize};
use sqlx::{PgPool, Row};

use crate::worker::{Doom, Step};

/// No key, no constraint: whatever is booked twice is there twice.
///
/// The trigger makes a commit wait that is to be interrupted: it runs when the server has begun it.
const TABLE: &str = "
    CREATE TABLE entries (reference text, account text, cents bigint, crashes bigint);

    CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN NULL; END $$;
    CREATE CONSTRAINT TRIGGER slow_commit AFTER INSERT ON entries
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
        WHEN (NEW.reference = 'during the commit') EXECUTE FUNCTION wait();
";

pub(crate) async fn make_table(pool: &PgPool) -> sqlx::Result<()> {
    sqlx::raw_sql(TABLE).execute(pool).await.map(drop)
}

/// Moves money from alice to bob.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Transfer {
    pub(crate) reference: String,
    pub(crate) cents: i64,
}

/// Two writes that belong together, and the job's success with them.
#[job]
pub(crate) async fn transfer(
    order: Transfer,
    ctx: JobContext,
    doom: State<Doom>,
    mut tx: JobTransaction,
) -> Result<(), JobError> {
    doom.at(Step::BeforeWrites);
    book(&mut tx, &order, "alice", -order.cents, &ctx).await?;
    doom.at(Step::BetweenWrites);
    book(&mut tx, &order, "bob", order.cents, &ctx).await?;
    doom.at(Step::AfterWrites);
    Ok(())
}

async fn book(
    tx: &mut JobTransaction,
    order: &Transfer,
    account: &str,
    cents: i64,
    ctx: &JobContext,
) -> Result<(), JobError> {
    let insert = sqlx::query("INSERT INTO entries VALUES ($1, $2, $3, $4)")
        .bind(&order.reference)
        .bind(account)
        .bind(cents)
        .bind(i64::from(ctx.crashes()));
    let inserted = insert.execute(&mut **tx).await;
    inserted.map(drop).map_err(JobError::retry)
}

/// What the ledger has of each transfer.
pub(crate) async fn print(pool: &PgPool) -> sqlx::Result<()> {
    let entries = "SELECT account, crashes FROM entries WHERE reference = $1 ORDER BY account";
    for step in Step::ALL {
        let rows = sqlx::query(entries).bind(step.to_string());
        let rows = rows.fetch_all(pool).await?;
        let entries: Vec<(&str, i64)> = rows
            .iter()
            .map(|row| (row.get("account"), row.get("crashes")))
            .collect();
        let booked = match *entries {
            [] => "nothing",
            [("alice", 0), ("bob", 0)] => "booked once, by its first worker",
            [("alice", 1), ("bob", 1)] => "booked once, by its second worker",
            _ => "WRONG",
        };
        println!("{:<24} {booked}", step.to_string());
    }
    Ok(())
}

pub(crate) async fn print_balances(pool: &PgPool) -> sqlx::Result<()> {
    let sums = "SELECT account, sum(cents)::bigint FROM entries GROUP BY account ORDER BY account";
    let sums: Vec<(String, i64)> = sqlx::query_as(sums).fetch_all(pool).await?;
    println!();
    for (account, cents) in &sums {
        println!("{account:<24} {cents:>5}");
    }
    let total: i64 = sums.iter().map(|(_, cents)| cents).sum();
    println!("{:<24} {total:>5}", "sum");
    Ok(())
}
