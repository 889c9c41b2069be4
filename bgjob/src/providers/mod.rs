//! Stores and queues, one per file, folder or crate. Code outside does not name any of them;
//! [`JobManager::connect`](crate::JobManager::connect) opens them by URL.
//!
//! | URL | feature | what it is |
//! |---|---|---|
//! | `memory:` | `memory` | a store that is gone with the process |
//! | `sqlite:path/to.db` | `sqlite` | a store in one file, for one host |
//! | `file:path/to/folder` | `file` | a store of JSON files, for one host |
//! | `postgres://host/database` | `postgres` | a store in PostgreSQL, for any number of hosts |
//! | `channel:` | `memory` | a queue within the process |
//!
//! What needs a client library is a crate of its own (`bgjob-sqlite`, `bgjob-postgres`) behind its
//! feature. A crate of yours is opened by URL as well:
//! [`register_scheme!`](crate::register_scheme).

use std::sync::Arc;

use crate::{
    Error, ErrorKind, JobQueue, JobStore, Result,
    store::{Opens, Scheme, linked},
};

#[cfg(feature = "memory")]
pub mod channel;
#[cfg(feature = "file")]
pub mod file;
#[cfg(feature = "memory")]
pub mod memory;
#[cfg(feature = "postgres")]
#[doc(inline)]
pub use bgjob_postgres as postgres;
#[cfg(feature = "sqlite")]
#[doc(inline)]
pub use bgjob_sqlite as sqlite;

/// Those that are part of this crate. The linker collects the others.
const OWN: &[Scheme] = &[
    #[cfg(feature = "memory")]
    memory::SCHEME,
    #[cfg(feature = "memory")]
    channel::SCHEME,
    #[cfg(feature = "file")]
    file::SCHEME,
];

/// The features that bring a scheme. Only the texts of errors use them.
const STORES: &[(&str, &str)] = &[
    ("memory", "memory"),
    ("sqlite", "sqlite"),
    ("file", "file"),
    ("postgres", "postgres"),
    ("postgresql", "postgres"),
];
const QUEUES: &[(&str, &str)] = &[("channel", "memory")];

/// Opens a store by its URL.
pub(crate) async fn open_store(url: &str) -> Result<Arc<dyn JobStore>> {
    let name = scheme(url, "store", "memory:` or `sqlite:jobs.db")?;
    match find(name)? {
        Some(Opens::Store(open)) => open(url).await,
        Some(Opens::Queue(_)) => Err(queue_for_store(name)),
        None if knows(QUEUES, name).is_some() => Err(queue_for_store(name)),
        None => Err(match knows(STORES, name) {
            Some(feature) => missing(feature),
            None => unknown(
                name,
                "store",
                "memory:`, `sqlite:path`, `file:folder`, `postgres://host/database",
            ),
        }),
    }
}

/// Opens a queue by its URL.
pub(crate) async fn open_queue(url: &str) -> Result<Arc<dyn JobQueue>> {
    let name = scheme(url, "queue", "channel:")?;
    if knows(STORES, name).is_some() {
        return Err(Error::invalid(format!(
            "`{name}:` is a store that needs no queue: leave `.queue_url(…)` out"
        )));
    }
    match find(name)? {
        Some(Opens::Queue(open)) => open(url).await,
        Some(Opens::Store(_)) => Err(Error::invalid(format!(
            "`{name}:` is a store: pass it to `JobManager::connect`"
        ))),
        None => Err(match knows(QUEUES, name) {
            Some(feature) => missing(feature),
            None => unknown(name, "queue", "channel:"),
        }),
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
        _ => Err(Error::invalid(format!(
            "a {what} URL starts with a scheme, like `{like}`"
        ))),
    }
}

/// Refuses text after the scheme, for a provider without options.
#[cfg(feature = "memory")]
fn plain(url: &str, all: &str) -> Result<()> {
    if url == all {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "`{all}` takes no path and no options"
    )))
}

fn schemes() -> impl Iterator<Item = &'static Scheme> {
    OWN.iter().chain(linked::schemes().iter().copied())
}

/// What is opened by URLs of this scheme, if there is exactly one. Nobody takes the place of what
/// is part of this crate.
fn find(name: &str) -> Result<Option<Opens>> {
    if let Some(own) = OWN.iter().find(|scheme| scheme.name == name) {
        return Ok(Some(own.opens));
    }
    let mut of_name = linked::schemes()
        .iter()
        .filter(|scheme| scheme.name == name);
    let first = of_name.next().map(|scheme| scheme.opens);
    if of_name.next().is_some() {
        return Err(Error::invalid(format!(
            "two crates of this program have registered the scheme `{name}:`: link one of them, \
             or open the store yourself and pass it to `JobManager::builder`"
        )));
    }
    Ok(first)
}

fn knows(known: &[(&str, &'static str)], name: &str) -> Option<&'static str> {
    let mut features = known.iter().filter(|(scheme, _)| *scheme == name);
    features.next().map(|(_, feature)| *feature)
}

fn queue_for_store(name: &str) -> Error {
    Error::invalid(format!(
        "`{name}:` is a queue, not a store: pass it to `.queue_url(…)`"
    ))
}

fn missing(feature: &str) -> Error {
    Error::new(
        ErrorKind::Unsupported,
        format!(
            "this build of bgjob has no `{feature}` feature: add it in Cargo.toml, as in \
             `bgjob = {{ version = \"0.1\", features = [\"{feature}\"] }}`"
        ),
    )
}

fn unknown(scheme: &str, what: &str, known: &str) -> Error {
    let others: String = schemes()
        .filter(|other| {
            knows(STORES, other.name)
                .or(knows(QUEUES, other.name))
                .is_none()
        })
        .map(|other| format!(", `{}:`", other.name))
        .collect();
    Error::invalid(format!(
        "`{scheme}:` is no {what} bgjob knows; it knows `{known}`{others}. Where another crate has \
         it, the program names that crate once: `use that_crate as _;`"
    ))
}
