//! The application's own table.

use lettre::Address;
use sqlx::{PgConnection, PgPool};

/// Held while the table is made: of several processes that start at once, one makes it.
const LOCK: i64 = 7_205_759;

/// The table, and one account for each address, however it is spelled.
const TABLE: &str = "
    CREATE TABLE IF NOT EXISTS users (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        name text NOT NULL,
        email text NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now()
    );
    CREATE UNIQUE INDEX IF NOT EXISTS users_email ON users (lower(email));
";

/// Makes the table where it is missing. bgjob makes its own, in a schema of its own.
///
/// # Errors
/// What the database says.
pub async fn migrate(pool: &PgPool) -> sqlx::Result<()> {
    let mut tx = pool.begin().await?;
    sqlx::query("SELECT pg_advisory_xact_lock($1)")
        .bind(LOCK)
        .execute(&mut *tx)
        .await?;
    sqlx::raw_sql(TABLE).execute(&mut *tx).await?;
    tx.commit().await
}

/// Stores a user; `None` if the address has an account.
///
/// # Errors
/// What the database says.
pub async fn insert(
    tx: &mut PgConnection,
    name: &str,
    email: &Address,
) -> sqlx::Result<Option<i64>> {
    let insert = "INSERT INTO users (name, email) VALUES ($1, $2)
        ON CONFLICT (lower(email)) DO NOTHING RETURNING id";
    let email: &str = email.as_ref();
    let insert = sqlx::query_scalar(insert).bind(name).bind(email);
    insert.fetch_optional(tx).await
}
