//! diesel-async 0.9. Its transactions are connections.

use async_trait::async_trait;
use diesel::{
    QueryableByName,
    result::{DatabaseErrorKind as Kind, Error},
    sql_query,
    sql_types::Text,
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use crate::error::{lost, refusal};
use bgjob_core::{
    BoxError,
    transaction::{Statement, Transaction},
};

/// The driver diesel-async, as [`Transaction`] names it.
#[derive(Debug)]
pub enum DieselAsync {}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = Text)]
    answer: String,
}

#[async_trait]
impl Transaction<DieselAsync> for AsyncPgConnection {
    async fn run(&mut self, statement: &Statement) -> Result<String, BoxError> {
        let call = sql_query(&statement.sql).bind::<Text, _>(&statement.parameter);
        let row: Result<Row, Error> = call.get_result(self).await;
        // The message without the DETAIL, which may quote a row.
        row.map(|row| row.answer).map_err(|error| match error {
            Error::DatabaseError(kind, refused) => {
                let message = refused.message();
                match sqlstate(&kind, message) {
                    Some(code) => refusal(code, message).into(),
                    None => lost(message.to_owned()).into(),
                }
            }
            error => lost(error).into(),
        })
    }
}

/// The SQLSTATE of a refusal, or `None` if the connection is gone. Diesel has a kind of error for a
/// few of them. The others are told apart by their messages, which are English only if the server
/// is set to it. An unknown message is not worth another try.
fn sqlstate(kind: &Kind, message: &str) -> Option<&'static str> {
    let says = |words: &str| message.contains(words);
    Some(match kind {
        Kind::UnableToSendCommand | Kind::ClosedConnection => return None,
        Kind::SerializationFailure => "40001",
        Kind::ReadOnlyTransaction => "25006",
        Kind::UniqueViolation => "23505",
        Kind::ForeignKeyViolation => "23503",
        Kind::NotNullViolation => "23502",
        Kind::CheckViolation => "23514",
        _ if says("deadlock detected") => "40P01",
        _ if says("could not obtain lock") || says("lock timeout") => "55P03",
        _ if says("canceling statement") => "57014",
        _ if says("terminating connection") || says("shutting down") => return None,
        _ if says("permission denied") || says("row-level security") => "42501",
        _ if says("does not exist") => "42P01",
        _ if says("current transaction is aborted") => "25P02",
        _ => "XX000",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_pass_is_not_worth_another_try() {
        let retryable = |kind: Kind, message: &str| {
            let error = match sqlstate(&kind, message) {
                Some(code) => refusal(code, message),
                None => lost(message.to_owned()),
            };
            error.is_retryable()
        };
        for message in [
            "function bgjob.create_within(bigint, text) does not exist",
            "relation \"bgjob.jobs\" does not exist",
            "permission denied for schema bgjob",
            "something in a language nobody here reads",
        ] {
            assert!(!retryable(Kind::Unknown, message), "{message}");
        }
        assert!(!retryable(Kind::UniqueViolation, ""));
        for message in [
            "deadlock detected",
            "canceling statement due to statement timeout",
            "terminating connection due to administrator command",
        ] {
            assert!(retryable(Kind::Unknown, message), "{message}");
        }
        assert!(retryable(Kind::SerializationFailure, ""));
        assert!(retryable(Kind::ClosedConnection, ""));
    }
}
