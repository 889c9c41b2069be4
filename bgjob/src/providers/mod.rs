//! Stores and queues, one per file or folder. Code outside does not name any of them, except for
//! [`JobManager::connect`](crate::JobManager::connect), which opens them by URL.
//!
//! | URL | feature | what it is |
//! |---|---|---|
//! | `memory:` | `memory` | a store that is gone with the process |
//! | `sqlite:path/to.db` | `sqlite` | a store in one file, for one host |
//! | `file:path/to/folder` | `file` | a store of JSON files, for one host |
//! | `postgres://host/database` | `postgres` | a store in PostgreSQL, for any number of hosts |
//! | `channel:` | `memory` | a queue within the process |

use std::sync::Arc;

use crate::{
    Error, ErrorKind, JobQueue, JobStore, Result,
    store::{Opens, Scheme},
};

#[cfg(feature = "memory")]
pub mod channel;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod columns;
#[cfg(feature = "file")]
pub mod file;
#[cfg(feature = "memory")]
pub mod memory;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "sqlite")]
pub mod sqlite;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod wake;
#[cfg(any(feature = "file", feature = "sqlite"))]
mod worker;

/// Makes a path absolute, so that it leads to the same place after the program changes its folder.
/// Links in the path stay: they may be moved on purpose.
#[cfg(any(feature = "file", feature = "sqlite"))]
fn absolute(path: &std::path::Path) -> Result<std::path::PathBuf> {
    std::path::absolute(path).map_err(|error| {
        Error::new(
            ErrorKind::InvalidInput,
            "the path of the store is empty, or relative to a folder that is gone",
        )
        .because(error)
    })
}

/// Opens a store by its URL.
pub(crate) async fn open_store(url: &str, others: &[&Scheme]) -> Result<Arc<dyn JobStore>> {
    match scheme(url, "store", "memory:` or `sqlite:jobs.db")? {
        #[cfg(feature = "memory")]
        "memory" => {
            plain(url, "memory:")?;
            Ok(Arc::new(memory::MemoryStore::new()))
        }
        #[cfg(not(feature = "memory"))]
        "memory" => Err(missing("memory")),
        #[cfg(feature = "sqlite")]
        "sqlite" => Ok(Arc::new(sqlite::SqliteStore::open_url(url).await?)),
        #[cfg(not(feature = "sqlite"))]
        "sqlite" => Err(missing("sqlite")),
        #[cfg(feature = "file")]
        "file" => Ok(Arc::new(file::FileStore::open_url(url).await?)),
        #[cfg(not(feature = "file"))]
        "file" => Err(missing("file")),
        #[cfg(feature = "postgres")]
        "postgres" | "postgresql" => Ok(Arc::new(postgres::PostgresStore::open_url(url).await?)),
        #[cfg(not(feature = "postgres"))]
        "postgres" | "postgresql" => Err(missing("postgres")),
        "channel" => Err(Error::new(
            ErrorKind::InvalidInput,
            "`channel:` is a queue, not a store: pass it to `.queue_url(…)`",
        )),
        name => match other(name, others)? {
            Some(Opens::Store(open)) => open(url).await,
            Some(Opens::Queue(_)) => Err(Error::invalid(format!(
                "`{name}:` is a queue, not a store: pass it to `.queue_url(…)`"
            ))),
            None => Err(unknown(
                name,
                "store",
                "memory:`, `sqlite:path`, `file:folder`, `postgres://host/database",
                others,
            )),
        },
    }
}

/// Opens a queue by its URL.
pub(crate) async fn open_queue(url: &str, others: &[&Scheme]) -> Result<Arc<dyn JobQueue>> {
    match scheme(url, "queue", "channel:")? {
        #[cfg(feature = "memory")]
        "channel" => {
            plain(url, "channel:")?;
            Ok(Arc::new(channel::ChannelQueue::new()))
        }
        #[cfg(not(feature = "memory"))]
        "channel" => Err(missing("memory")),
        store @ ("memory" | "sqlite" | "file" | "postgres" | "postgresql") => Err(Error::new(
            ErrorKind::InvalidInput,
            format!("`{store}:` is a store that needs no queue: leave `.queue_url(…)` out"),
        )),
        name => match other(name, others)? {
            Some(Opens::Queue(open)) => open(url).await,
            Some(Opens::Store(_)) => Err(Error::invalid(format!(
                "`{name}:` is a store: pass it to `JobManager::connect`"
            ))),
            None => Err(unknown(name, "queue", "channel:", others)),
        },
    }
}

fn scheme<'a>(url: &'a str, what: &str, like: &str) -> Result<&'a str> {
    match url.split_once(':') {
        Some((scheme, _))
            if scheme.len() <= 32
                && scheme
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'+') =>
        {
            Ok(scheme)
        }
        // The text is not repeated: it may hold a password.
        _ => Err(Error::new(
            ErrorKind::InvalidInput,
            format!("a {what} URL starts with a scheme, like `{like}`"),
        )),
    }
}

/// Refuses text after the scheme, for a provider without options.
#[cfg(feature = "memory")]
fn plain(url: &str, all: &str) -> Result<()> {
    if url == all {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::InvalidInput,
        format!("`{all}` takes no path and no options"),
    ))
}

#[cfg(not(all(
    feature = "memory",
    feature = "sqlite",
    feature = "file",
    feature = "postgres"
)))]
fn missing(feature: &str) -> Error {
    Error::new(
        ErrorKind::Unsupported,
        format!(
            "this build of bgjob has no `{feature}` feature: add it in Cargo.toml, as in \
             `bgjob = {{ version = \"0.1\", features = [\"{feature}\"] }}`"
        ),
    )
}

/// The scheme of this name that another crate has registered, if there is exactly one.
fn other(name: &str, others: &[&Scheme]) -> Result<Option<Opens>> {
    let mut of_name = others.iter().filter(|scheme| scheme.name == name);
    let first = of_name.next().map(|scheme| scheme.opens);
    if of_name.next().is_some() {
        return Err(Error::invalid(format!(
            "two crates of this program have registered the scheme `{name}:`: link one of them, \
             or open the store yourself and pass it to `JobManager::builder`"
        )));
    }
    Ok(first)
}

fn unknown(scheme: &str, what: &str, known: &str, others: &[&Scheme]) -> Error {
    let linked: String = others
        .iter()
        .map(|other| format!(", `{}:`", other.name))
        .collect();
    Error::new(
        ErrorKind::InvalidInput,
        format!(
            "`{scheme}:` is no {what} bgjob knows; it knows `{known}`{linked}. Where another crate \
             has it, the program names that crate once: `use that_crate as _;`"
        ),
    )
}
