//! diesel-async 0.9. A transaction is a connection there.

use async_trait::async_trait;
use diesel::{QueryableByName, result::Error, sql_query, sql_types::Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use crate::{
    BoxError,
    providers::postgres::error::lost,
    transaction::{Statement, Transaction},
};

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = Text)]
    answer: String,
}

#[async_trait]
impl Transaction for AsyncPgConnection {
    async fn run(&mut self, statement: &Statement) -> Result<String, BoxError> {
        let call = sql_query(&statement.sql).bind::<Text, _>(&statement.parameter);
        let row: Result<Row, Error> = call.get_result(self).await;
        // It keeps no SQLSTATE; a message without the DETAIL, which may quote a row.
        row.map(|row| row.answer).map_err(|error| match error {
            Error::DatabaseError(_, refused) => lost(refused.message().to_owned()).into(),
            error => lost(error).into(),
        })
    }
}
