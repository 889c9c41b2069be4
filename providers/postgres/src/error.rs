//! What PostgreSQL's errors mean to a caller.

use std::{borrow::Cow, error::Error as StdError, fmt, io};

use bgjob_core::{BoxError, Error, ErrorKind};

/// The server's message, as the cause of an error.
#[derive(Debug)]
struct Refusal {
    /// Its SQLSTATE.
    code: Option<String>,
    message: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Refusal {}

/// The SQLSTATE of the server's refusal. `None` for other errors.
fn sqlstate(error: &Error) -> Option<&str> {
    let refusal: &Refusal = error.source()?.downcast_ref()?;
    refusal.code.as_deref()
}

/// Whether the server refused a row because another row has its key.
pub(super) fn is_taken(error: &Error) -> bool {
    sqlstate(error) == Some("23505")
}

/// Whether the server refused a statement because the user lacks a right.
pub(super) fn is_forbidden(error: &Error) -> bool {
    sqlstate(error) == Some("42501")
}

/// Whether the schema holds something by a name that bgjob is about to create, or something other
/// than bgjob's table under the name of that table.
pub(super) fn is_others(error: &Error) -> bool {
    matches!(
        sqlstate(error),
        Some("42P07" | "42710" | "42723" | "42703" | "42809")
    )
}

/// Whether the server refused numbers of lanes that now stand for other kinds of jobs.
pub(super) fn is_stale(error: &Error) -> bool {
    let refusal = error.source().and_then(<dyn StdError>::downcast_ref);
    refusal.is_some_and(|refusal: &Refusal| refusal.code.as_deref() == Some("BJ001"))
}

/// Whether the server may have refused a single row: data that it can't take or read, a limit, a
/// trigger of the user's. Other rows of the same batch may succeed.
pub(super) fn blames_row(error: &Error) -> bool {
    let class = sqlstate(error).and_then(|code| code.get(..2));
    matches!(
        class,
        Some("0A" | "22" | "23" | "38" | "39" | "44" | "54" | "P0" | "XX")
    )
}

/// sqlx's error as one of ours. A temporary failure is `Unavailable`, so that callers try again.
///
/// Messages of the server are kept as the cause; its `DETAIL`, which may quote a row, is not.
pub(super) fn translate(error: sqlx::Error) -> Error {
    let (kind, message) = match &error {
        sqlx::Error::Database(refusal) => refused(
            refusal.code().as_deref().unwrap_or_default(),
            refusal.message(),
        ),
        sqlx::Error::Io(cause) if cause.kind() == io::ErrorKind::ConnectionRefused => (
            ErrorKind::Unavailable,
            "the server can't be reached: nobody listens at this host and port",
        ),
        sqlx::Error::Io(_) => (
            ErrorKind::Unavailable,
            "the connection to PostgreSQL was lost, or there is none",
        ),
        sqlx::Error::PoolTimedOut => (
            ErrorKind::Unavailable,
            "no connection to PostgreSQL could be had in time: the server can't be reached; or it \
             allows fewer than this program wants (then use fewer, `?bgjob.connections=…`, which \
             is all but four of them); or all are in use (then allow more, or look for what holds \
             them)",
        ),
        sqlx::Error::PoolClosed => (
            ErrorKind::Closed,
            "the connections to PostgreSQL are closed",
        ),
        sqlx::Error::Tls(_) => (
            ErrorKind::Unavailable,
            "the connection to PostgreSQL could not be encrypted: check `sslmode` and \
             `sslrootcert` in the URL",
        ),
        sqlx::Error::Configuration(_) => (
            ErrorKind::InvalidInput,
            "this is no URL of a PostgreSQL database: it is `postgres://user:password@host/name`",
        ),
        sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => (
            ErrorKind::Unavailable,
            "the connection to PostgreSQL broke in the middle of an answer",
        ),
        _ => (
            ErrorKind::Internal,
            "PostgreSQL answered something unexpected",
        ),
    };
    let (code, cause): (_, BoxError) = match error {
        sqlx::Error::Database(refusal) => {
            let code = refusal.code().map(Cow::into_owned);
            let message = refusal.message().to_owned();
            (code.clone(), Refusal { code, message }.into())
        }
        other => (None, other.to_string().into()),
    };
    let error = Error::new(kind, message).because(cause);
    match code {
        Some(code) => error.with("sqlstate", code),
        None => error,
    }
}

/// A server's refusal that another driver reports.
#[cfg(any(
    feature = "diesel-async",
    feature = "sea-orm",
    feature = "tokio-postgres"
))]
pub(super) fn refusal(code: &str, message: &str) -> Error {
    let (kind, text) = refused(code, message);
    Error::new(kind, text)
        .because(message.to_owned())
        .with("sqlstate", code)
}

/// A failure without a code that another driver reports.
#[cfg(any(
    feature = "diesel-async",
    feature = "sea-orm",
    feature = "tokio-postgres"
))]
pub(super) fn lost(cause: impl Into<bgjob_core::BoxError>) -> Error {
    Error::new(
        ErrorKind::Unavailable,
        "the statement of bgjob failed in your transaction: roll it back and begin anew",
    )
    .because(cause)
}

/// Whether the server has rolled back a call because of another transaction: a deadlock, or a
/// serialization failure if transactions are serializable by default.
pub(super) fn is_in_the_way(error: &sqlx::Error) -> bool {
    let refusal = error.as_database_error();
    let code = refusal.and_then(|refusal| refusal.code());
    matches!(code.as_deref(), Some("40001" | "40P01"))
}

/// By SQLSTATE: <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
fn refused(code: &str, message: &str) -> (ErrorKind, &'static str) {
    match code {
        "40001" | "40P01" | "55P03" | "BJ001" => {
            (ErrorKind::Unavailable, "another transaction was in the way")
        }
        "57014" => (
            ErrorKind::Timeout,
            "a statement took longer than it may, and was cancelled",
        ),
        "25006" => (
            ErrorKind::Unavailable,
            "the server takes no writes: it is a replica, or was set to read only",
        ),
        "53100" => (
            ErrorKind::Unavailable,
            "the disk of the database is full: free some space",
        ),
        "53300" => (
            ErrorKind::Unavailable,
            "the server allows no further connection: use fewer (`?bgjob.connections=…`, which is \
             all but four of them), or raise its `max_connections` or the user's limit",
        ),
        "28000" | "28P01" => (
            ErrorKind::InvalidInput,
            "the server refused the user or the password: check the URL",
        ),
        "3D000" => (
            ErrorKind::InvalidInput,
            "there is no database of this name: create it, or check the URL",
        ),
        "42501" => (ErrorKind::InvalidInput, forbidden(message)),
        "3F000" | "42P01" | "42883" => (
            ErrorKind::InvalidInput,
            "the tables of bgjob are missing or of another version: run its migrations",
        ),
        "22021" | "22P05" => (
            ErrorKind::InvalidInput,
            "a text holds a character that PostgreSQL can't store",
        ),
        _ => match code.get(..2).unwrap_or_default() {
            // Connections, resources, operators (a shutdown, a crash), the system under it.
            "08" | "53" | "57" | "58" => {
                (ErrorKind::Unavailable, "PostgreSQL can't serve just now")
            }
            _ => (ErrorKind::Internal, "PostgreSQL refused a statement"),
        },
    }
}

/// What to do about row security.
pub(super) const ROWS_HIDDEN: &str = "row security hides jobs from this user: let it own the \
     tables, give it BYPASSRLS, or switch row security off for the tables of bgjob";

/// What to do about a missing right. The server names the right in English, or in the language that
/// it is set to.
fn forbidden(message: &str) -> &'static str {
    let says = |words: &str| message.contains(words);
    if says("row-level security") {
        ROWS_HIDDEN
    } else if says("for database") {
        "the user may not make a schema: grant it CREATE on the database, or make the tables with \
         what `migrations()` prints"
    } else if says("for schema") {
        "the user may not use the schema: grant it USAGE on it, and CREATE if it is to make the \
         tables"
    } else if says("for function") {
        "the user may not call the functions of bgjob: grant it EXECUTE on all functions in the \
         schema"
    } else if says("for table") || says("for relation") || says("for sequence") {
        "the user may not use the tables of bgjob: grant it SELECT, INSERT, UPDATE and DELETE on \
         all tables in the schema"
    } else if says("must be owner") {
        "only the owner of the tables may do that: let it run the migrations"
    } else {
        "the user lacks a right, which the cause names: `docs/postgres.md` lists all that it needs"
    }
}
