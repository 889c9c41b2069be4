//! What SQLite's errors mean to a caller.

use rusqlite::ErrorCode;

use bgjob_core::{Error, ErrorKind};

use super::rows::is_unreadable;

/// SQLite's error as one of ours. A temporary failure is `Unavailable`, so that callers try again.
pub(super) fn translate(error: rusqlite::Error) -> Error {
    use ErrorCode as Code;
    let (kind, message) = match error.sqlite_error_code() {
        Some(Code::DatabaseBusy | Code::DatabaseLocked) => (
            ErrorKind::Unavailable,
            "the database stayed locked: another process holds a transaction open on it",
        ),
        Some(Code::DiskFull) => (
            ErrorKind::Unavailable,
            "the disk of the database is full: free some space",
        ),
        Some(Code::ReadOnly) => (
            ErrorKind::Unavailable,
            "the database can't be written: check the permissions of its file and its folder",
        ),
        Some(Code::CannotOpen | Code::PermissionDenied) => (
            ErrorKind::Unavailable,
            "the database can't be opened: check that its folder exists and may be written to",
        ),
        Some(Code::SystemIoFailure) => (
            ErrorKind::Unavailable,
            "reading or writing the database failed",
        ),
        Some(Code::NotADatabase) => (
            ErrorKind::InvalidInput,
            "the file is not an SQLite database: give the path of one, or of none yet",
        ),
        Some(Code::DatabaseCorrupt) => (
            ErrorKind::Internal,
            "the database is damaged: restore it from a backup",
        ),
        _ if is_unreadable(&error) => (
            ErrorKind::Internal,
            "what is stored in `bgjob_jobs` can't be read: mend it, or remove it",
        ),
        _ => (ErrorKind::Internal, "the database refused a statement"),
    };
    Error::new(kind, message).because(error)
}

/// Whether the cause may be a single row that can't be read or written: data that another program
/// wrote, a trigger of the user's. Other rows may succeed.
pub(super) fn blames_row(error: &rusqlite::Error) -> bool {
    use rusqlite::Error;
    match error {
        Error::FromSqlConversionFailure(..)
        | Error::IntegralValueOutOfRange(..)
        | Error::Utf8Error(..)
        | Error::InvalidColumnType(..)
        | Error::QueryReturnedNoRows => true,
        error => matches!(
            error.sqlite_error_code(),
            Some(ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch | ErrorCode::TooBig)
        ),
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::ffi;

    use super::*;

    fn check(code: i32, kind: ErrorKind, retryable: bool) {
        let error = translate(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None));
        assert_eq!(
            (error.kind(), error.is_retryable()),
            (kind, retryable),
            "{code}"
        );
    }

    #[test]
    fn what_can_pass_is_worth_another_try() {
        check(ffi::SQLITE_BUSY, ErrorKind::Unavailable, true);
        check(ffi::SQLITE_FULL, ErrorKind::Unavailable, true);
        check(ffi::SQLITE_READONLY_DBMOVED, ErrorKind::Unavailable, true);
        check(ffi::SQLITE_IOERR_FSYNC, ErrorKind::Unavailable, true);
        check(ffi::SQLITE_CANTOPEN, ErrorKind::Unavailable, true);
        check(ffi::SQLITE_NOTADB, ErrorKind::InvalidInput, false);
        check(ffi::SQLITE_CORRUPT, ErrorKind::Internal, false);
        check(ffi::SQLITE_MISUSE, ErrorKind::Internal, false);
    }
}
