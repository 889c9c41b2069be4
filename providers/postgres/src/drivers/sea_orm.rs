//! SeaORM 2.

use async_trait::async_trait;
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, RuntimeErr};

use crate::error::{lost, refusal};
use bgjob_core::{
    BoxError,
    transaction::{Statement, Transaction},
};

/// The driver SeaORM, as [`Transaction`] names it.
#[derive(Debug)]
pub enum SeaOrm {}

#[async_trait]
impl Transaction<SeaOrm> for DatabaseTransaction {
    async fn run(&mut self, statement: &Statement) -> Result<String, BoxError> {
        let call = sea_orm::Statement::from_sql_and_values(
            DbBackend::Postgres,
            &statement.sql,
            [statement.parameter.as_str().into()],
        );
        let row = self.query_one_raw(call).await.map_err(translate)?;
        let row = row.ok_or("a statement of bgjob answered nothing")?;
        Ok(row.try_get("", "answer").map_err(translate)?)
    }
}

fn translate(error: DbErr) -> bgjob_core::Error {
    if let DbErr::Query(RuntimeErr::SqlxError(cause)) | DbErr::Exec(RuntimeErr::SqlxError(cause)) =
        &error
        && let Some(refused) = cause.as_database_error()
    {
        return refusal(
            refused.code().as_deref().unwrap_or_default(),
            refused.message(),
        );
    }
    lost(error)
}
