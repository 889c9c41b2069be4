//! sqlx 0.9.

use async_trait::async_trait;
use sqlx::{AssertSqlSafe, PgConnection, Postgres, Row, pool::PoolConnection};

use crate::error::translate;
use bgjob_core::{
    BoxError,
    transaction::{Statement, Transaction},
};

/// The driver sqlx, as [`Transaction`] names it.
#[derive(Debug)]
pub enum Sqlx {}

#[async_trait]
impl Transaction<Sqlx> for PgConnection {
    async fn run(&mut self, statement: &Statement) -> Result<String, BoxError> {
        let call = sqlx::query(AssertSqlSafe(statement.sql.as_str())).bind(&statement.parameter);
        let row = call.fetch_one(self).await.map_err(translate)?;
        Ok(row.try_get("answer").map_err(translate)?)
    }
}

#[async_trait]
impl Transaction<Sqlx> for sqlx::Transaction<'_, Postgres> {
    async fn run(&mut self, statement: &Statement) -> Result<String, BoxError> {
        (**self).run(statement).await
    }
}

#[async_trait]
impl Transaction<Sqlx> for PoolConnection<Postgres> {
    async fn run(&mut self, statement: &Statement) -> Result<String, BoxError> {
        (**self).run(statement).await
    }
}
