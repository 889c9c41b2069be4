//! [`Scheme`]: how a store or queue of another crate is opened by its URL.

use std::{fmt, future::Future, pin::Pin, sync::Arc};

use super::JobStore;
use crate::{JobQueue, Result};

/// A store or queue that is being opened.
pub type Opening<'a, T> = Pin<Box<dyn Future<Output = Result<Arc<T>>> + Send + 'a>>;

/// How a store or a queue is opened by its URL. [`register_scheme!`](crate::register_scheme) makes
/// it known to `JobManager::connect`, so that only the URL changes
/// for a user of it.
///
/// The URL is handed over as the user wrote it. It may hold a password, so no error repeats it.
pub struct Scheme {
    #[doc(hidden)]
    pub name: &'static str,
    #[doc(hidden)]
    pub opens: Opens,
}

/// What a scheme opens.
#[derive(Debug, Clone, Copy)]
#[doc(hidden)]
pub enum Opens {
    Store(for<'a> fn(&'a str) -> Opening<'a, dyn JobStore>),
    Queue(for<'a> fn(&'a str) -> Opening<'a, dyn JobQueue>),
}

impl Scheme {
    /// URLs that begin with `name:` are those of a store.
    pub const fn store(
        name: &'static str,
        open: for<'a> fn(&'a str) -> Opening<'a, dyn JobStore>,
    ) -> Self {
        Self {
            name,
            opens: Opens::Store(open),
        }
    }

    /// URLs that begin with `name:` are those of a queue.
    pub const fn queue(
        name: &'static str,
        open: for<'a> fn(&'a str) -> Opening<'a, dyn JobQueue>,
    ) -> Self {
        Self {
            name,
            opens: Opens::Queue(open),
        }
    }
}

impl fmt::Debug for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.opens {
            Opens::Store(_) => "store",
            Opens::Queue(_) => "queue",
        };
        f.debug_struct("Scheme")
            .field("name", &self.name)
            .field("opens", &what)
            .finish()
    }
}
