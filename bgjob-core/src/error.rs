//! The one [`Error`] of bgjob.

use std::{any::Any, error::Error as StdError, fmt};

/// Texts kept of one chain of causes.
pub(crate) const ERROR_CHAIN: usize = 16;

/// A result with bgjob's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A boxed error, as handlers and providers pass it on.
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// What a caller can do about an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// There is no such job, queue or file.
    NotFound,
    /// The id exists, or a live job has this unique key.
    AlreadyExists,
    /// The job is in another state or version than the operation needs.
    Conflict,
    /// Another grant holds the lease by now.
    LeaseLost,
    /// The input is wrong; the message names the field and the remedy.
    InvalidInput,
    /// The provider, or this build, can't do this.
    Unsupported,
    /// The store or queue can't be reached just now; try again.
    Unavailable,
    /// The call took too long; whether it took effect is unknown.
    Timeout,
    /// What was called has been shut down.
    Closed,
    /// The awaited job is dead; the message has its last error.
    JobDead,
    /// The awaited job was cancelled.
    JobCancelled,
    /// A bug, or data that should not be there.
    Internal,
}

/// What went wrong, what can be done about it, and what it concerns.
///
/// `Display` is one line; [`source`](StdError::source) has the cause. bgjob's own messages never
/// contain metadata, results or secrets. Messages of others may: the error or panic of a handler,
/// which is kept with its job and is the source of [`JobDead`](ErrorKind::JobDead), and the error
/// of a database driver.
///
/// ```
/// use bgjob::{Error, ErrorKind};
///
/// let error = Error::new(ErrorKind::NotFound, "no such job").with("job", "42");
/// assert_eq!(error.to_string(), "no such job (job: 42)");
/// assert!(!error.is_retryable());
/// ```
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    context: Vec<(&'static str, String)>,
    source: Option<BoxError>,
    job: Option<crate::id::JobId>,
}

impl Error {
    /// An error of this kind. The message is in lower case, without a full stop.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            context: Vec::new(),
            source: None,
            job: None,
        }))
    }

    /// Adds context, as `name: value`. The value is made fit to be shown: a long one is cut, and
    /// control characters are escaped. If a name is added twice, its first value stays.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl fmt::Display) -> Self {
        const LONGEST: usize = 1024;
        if self.0.context.iter().all(|(known, _)| *known != name) {
            let mut value = value.to_string();
            if value.contains(char::is_control) {
                value = value.escape_debug().to_string();
            }
            value.truncate(value.floor_char_boundary(LONGEST.min(value.len())));
            self.0.context.push((name, value));
        }
        self
    }

    /// Adds the cause.
    #[must_use]
    pub fn because(mut self, source: impl Into<BoxError>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Names the job that the error concerns; see [`job_id`](Self::job_id).
    #[must_use]
    pub fn about(mut self, job: crate::id::JobId) -> Self {
        self.0.job = Some(job);
        self
    }

    /// What a caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether the same call may succeed later, unchanged.
    pub fn is_retryable(&self) -> bool {
        matches!(self.0.kind, ErrorKind::Unavailable | ErrorKind::Timeout)
    }

    /// The job that the error concerns. A job that is enqueued again with this id can't be stored
    /// twice.
    pub fn job_id(&self) -> Option<crate::id::JobId> {
        self.0.job
    }

    /// A copy for each of several callers whose jobs shared one batch.
    #[doc(hidden)]
    pub fn share(&self) -> Self {
        let mut copy = Self::new(self.0.kind, self.0.message.clone());
        copy.0.context.clone_from(&self.0.context);
        if let Some(source) = &self.0.source {
            copy = copy.because(source.to_string());
        }
        copy
    }

    #[doc(hidden)]
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidInput, message)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        let job = self.0.job.map(|id| ("job", id.to_string()));
        let pairs: Vec<_> = self
            .0
            .context
            .iter()
            .cloned()
            .chain(job)
            .map(|(k, v)| format!("{k}: {v}"))
            .collect();
        if pairs.is_empty() {
            Ok(())
        } else {
            write!(f, " ({})", pairs.join(", "))
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.0.kind)?;
        // An error may be its own cause.
        let causes = std::iter::successors(self.source(), |&error| error.source());
        causes
            .take(ERROR_CHAIN)
            .try_for_each(|error| write!(f, "\n  because: {error}"))
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|e| e as _)
    }
}

/// The message of a panic, cut to 4096 bytes.
#[doc(hidden)]
pub fn panic_text(panic: &(dyn Any + Send)) -> String {
    const MAX: usize = 4096;
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("panicked with a value that is no text");
    text[..text.floor_char_boundary(MAX.min(text.len()))].to_owned()
}
