//! sqlx 0.9.

use async_trait::async_trait;
use sqlx::{AssertSqlSafe, PgConnection, Postgres, Row, pool::PoolConnection};

use crate::{
    BoxError, JobError,
    providers::postgres::error::translate,
    transaction::{Statement, Transaction},
};

#[async_trait]
impl Transaction for PgConnection {
    async fn run(&mut self, statement: &Statement) -> Result<String, BoxError> {
        let call = sqlx::query(AssertSqlSafe(statement.sql.as_str())).bind(&statement.parameter);
        let row = call.fetch_one(self).await.map_err(translate)?;
        Ok(row.try_get("answer").map_err(translate)?)
    }
}

#[async_trait]
impl Transaction for sqlx::Transaction<'_, Postgres> {
    async fn run(&mut self, statement: &Statement) -> Result<String, BoxError> {
        (**self).run(statement).await
    }
}

#[async_trait]
impl Transaction for PoolConnection<Postgres> {
    async fn run(&mut self, statement: &Statement) -> Result<String, BoxError> {
        (**self).run(statement).await
    }
}

/// Lets a handler use `?` after a statement.
impl From<sqlx::Error> for JobError {
    fn from(error: sqlx::Error) -> Self {
        Self::retry(error)
    }
}
