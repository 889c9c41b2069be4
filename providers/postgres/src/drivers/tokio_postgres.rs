//! tokio-postgres 0.7.

use async_trait::async_trait;
use tokio_postgres::{Client, GenericClient};

use crate::error::{lost, refusal};
use bgjob_core::{
    BoxError,
    transaction::{Statement, Transaction},
};

/// The driver tokio-postgres, as [`Transaction`] names it.
#[derive(Debug)]
pub enum TokioPostgres {}

async fn run(
    client: &(impl GenericClient + Sync),
    statement: &Statement,
) -> Result<String, BoxError> {
    let row = client
        .query_one(&statement.sql, &[&statement.parameter])
        .await;
    row.and_then(|row| row.try_get("answer"))
        .map_err(|error| match error.as_db_error() {
            Some(refused) => refusal(refused.code().code(), refused.message()).into(),
            None => lost(error).into(),
        })
}

#[async_trait]
impl Transaction<TokioPostgres> for tokio_postgres::Transaction<'_> {
    async fn run(&mut self, statement: &Statement) -> Result<String, BoxError> {
        run(self, statement).await
    }
}

#[async_trait]
impl Transaction<TokioPostgres> for Client {
    async fn run(&mut self, statement: &Statement) -> Result<String, BoxError> {
        run(self, statement).await
    }
}
