//! [`JobSpec`]: what was asked for when a job was enqueued, and the limits it is held to.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::{Json, StoredBackoff};
use crate::Error;

/// Every limit a job is held to, with its value.
pub mod limits {
    use std::time::Duration;

    /// The largest metadata a manager accepts by default, in bytes.
    pub const METADATA: usize = 256 * 1024;
    /// The largest metadata a manager can be set to accept, in bytes.
    pub const METADATA_HARD: usize = 1024 * 1024;
    /// A result, in bytes.
    pub const RESULT: usize = 64 * 1024;
    /// Headers and tags together, in bytes.
    pub const HEADERS: usize = 16 * 1024;
    /// Tags of one job.
    pub const TAGS: usize = 32;
    /// A job's name, in bytes.
    pub const NAME: usize = 128;
    /// A queue's name, in bytes.
    pub const QUEUE: usize = 64;
    /// A unique key, in bytes.
    pub const UNIQUE_KEY: usize = 256;
    /// A unique key as it is stored, with the name it belongs to, in bytes.
    #[doc(hidden)]
    pub const UNIQUE_KEY_STORED: usize = NAME + 1 + UNIQUE_KEY;
    /// The texts of an error and its causes as they are kept, in bytes in all.
    pub const ERROR: usize = 16 * 1024;
    /// Texts kept of one chain of causes.
    pub const ERROR_CHAIN: usize = crate::error::ERROR_CHAIN;
    /// A note of a progress report, in bytes.
    pub const NOTE: usize = 1024;
    /// Attempts kept in a job's history; older ones are dropped.
    pub const HISTORY: usize = 10;
    /// Steps of a backoff that is stored with a job.
    pub const BACKOFF_STEPS: usize = 100;
    /// Jobs in one batch to a store.
    pub const BATCH: usize = 1000;
    /// Bytes in one batch to or from a store, unless a single job has more. Metadata, headers and
    /// tags count, and errors or results where the batch carries them.
    pub const BATCH_BYTES: usize = 4 * 1024 * 1024;
    /// Waiting jobs of one kind that are counted at least. Beyond that a count may be a lower
    /// bound.
    pub const COUNTED: usize = 10_000;
    /// Jobs that one call of a store looks at for a list, at least, before it returns what it has.
    pub const LOOKED_AT: usize = 10_000;
    /// The longest span a job can ask for (delay, timeout, retention, …): ten years.
    pub const SPAN: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);
    /// Starts of a job after which its snoozes and retries wait at least [`FLOOR`].
    pub const QUICK_STARTS: u64 = 10;
    /// The shortest snooze, and the shortest wait for a retry, of a job that was started more than
    /// [`QUICK_STARTS`] times.
    pub const FLOOR: Duration = Duration::from_millis(100);
}

/// The room for bytes in a batch: [`limits::BATCH_BYTES`]. The first job fits in any case.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[doc(hidden)]
pub struct Room {
    taken: usize,
    some: bool,
}

impl Room {
    #[doc(hidden)]
    pub const fn fits(self, bytes: usize) -> bool {
        !self.some || self.taken.saturating_add(bytes) <= limits::BATCH_BYTES
    }

    #[doc(hidden)]
    pub fn take(&mut self, bytes: usize) {
        self.taken = self.taken.saturating_add(bytes);
        self.some = true;
    }

    /// Whether something has been taken.
    #[doc(hidden)]
    pub const fn is_used(self) -> bool {
        self.some
    }

    /// How many bytes are left.
    #[doc(hidden)]
    pub const fn left(self) -> usize {
        limits::BATCH_BYTES.saturating_sub(self.taken)
    }
}

/// How urgent a job is. Among the due jobs of a queue, the most urgent go first.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// After everything else.
    Low,
    /// The default.
    #[default]
    Normal,
    /// Before the normal ones.
    High,
    /// Before everything else.
    Critical,
}

impl Priority {
    /// All of them, the most urgent first.
    pub const ALL: [Self; 4] = [Self::Critical, Self::High, Self::Normal, Self::Low];

    /// 0 for the most urgent, 3 for the least: the order in which stores keep ready jobs.
    pub const fn rank(self) -> u8 {
        match self {
            Self::Critical => 0,
            Self::High => 1,
            Self::Normal => 2,
            Self::Low => 3,
        }
    }

    /// The priority of a rank that [`rank`](Self::rank) gave.
    pub const fn from_rank(rank: u8) -> Self {
        match rank {
            0 => Self::Critical,
            1 => Self::High,
            2 => Self::Normal,
            _ => Self::Low,
        }
    }
}

/// What was asked for when the job was enqueued. It does not change while the job runs, fails and
/// retries; only an operator's edit replaces it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct JobSpec {
    /// Name of the job. It selects the function that runs the job.
    pub name: Arc<str>,
    /// Queue it waits in.
    pub queue: Arc<str>,
    /// Version of the metadata; see `#[job(version = …)]`.
    pub version: u32,
    /// How urgent it is.
    pub priority: Priority,
    /// The argument that the function is called with.
    pub metadata: Json,
    /// Pairs that travel with the job: trace context, tenant, …
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Words to find it by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// At most one live job has this key. The part before the slash is what the key belongs to:
    /// `resize/k` is the key `k` of the job `resize` (a renamed job keeps its oldest name here),
    /// `*/k` is a shared key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unique_key: Option<String>,
    /// How many errors make it Dead.
    pub max_attempts: u32,
    /// How many crashes of its process make it Dead. Of the jobs that have crashed and are one
    /// crash away from that, a process runs only one at a time, so that a job that kills its
    /// process is found.
    pub max_crashes: u32,
    /// The longest time from due to the first start. After that it is Dead (`expired`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Duration>,
    /// The longest time from due to the end, over all attempts. After that it is Dead (`deadline`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Duration>,
    /// How long it is kept after it succeeded or was cancelled. Zero deletes it at once.
    pub retain: Duration,
    /// How long an attempt may take. Overrides the function's own timeout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// How long it waits after an error. Overrides the function's own backoff.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backoff: Option<StoredBackoff>,
}

impl JobSpec {
    /// How many errors make a job Dead by default.
    pub const MAX_ATTEMPTS: u32 = 5;
    /// How many crashes make a job Dead by default.
    pub const MAX_CRASHES: u32 = 3;
    /// How long a succeeded or cancelled job is kept by default.
    pub const RETAIN: Duration = Duration::from_secs(24 * 60 * 60);
    /// How long a dead job is kept, whatever its `retain`.
    pub const RETAIN_DEAD: Duration = Duration::from_secs(30 * 24 * 60 * 60);
    /// The queue of a job that names none.
    pub const QUEUE: &'static str = "default";

    /// A job of this name with everything else at its default.
    pub fn new(name: impl Into<Arc<str>>, metadata: Json) -> Self {
        Self::in_queue(Self::QUEUE, name, metadata)
    }

    /// A job of this queue and name with everything else at its default.
    pub fn in_queue(queue: impl Into<Arc<str>>, name: impl Into<Arc<str>>, metadata: Json) -> Self {
        Self {
            name: name.into(),
            queue: queue.into(),
            version: 0,
            priority: Priority::Normal,
            metadata,
            headers: BTreeMap::new(),
            tags: Vec::new(),
            unique_key: None,
            max_attempts: Self::MAX_ATTEMPTS,
            max_crashes: Self::MAX_CRASHES,
            expires: None,
            deadline: None,
            retain: Self::RETAIN,
            timeout: None,
            backoff: None,
        }
    }

    /// Its size in bytes, as counted against the limit of a batch.
    #[doc(hidden)]
    pub fn bytes(&self) -> usize {
        let headers = self.headers.iter().map(|(k, v)| k.len() + v.len());
        let tags = self.tags.iter().map(String::len);
        let key = self.unique_key.as_ref().map_or(0, String::len);
        self.metadata.len() + headers.chain(tags).sum::<usize>() + key
    }

    /// Checks every limit.
    ///
    /// # Errors
    /// `InvalidInput` naming the field, the limit and the remedy.
    pub fn validate(&self, metadata_max: usize) -> Result<(), Error> {
        check_name(&self.name)?;
        check_queue(&self.queue)?;
        let size = self.metadata.len();
        if size > metadata_max {
            return Err(Error::invalid(format!(
                "metadata is {size} bytes, more than the {metadata_max} allowed: store the data \
                 elsewhere and enqueue its key, or raise the manager's `max_metadata`"
            )));
        }
        let pairs: usize = self.headers.iter().map(|(k, v)| k.len() + v.len()).sum();
        let tags: usize = self.tags.iter().map(String::len).sum();
        if pairs + tags > limits::HEADERS {
            return Err(Error::invalid(format!(
                "headers and tags are {} bytes, more than the {} allowed: use the metadata",
                pairs + tags,
                limits::HEADERS
            )));
        }
        if self.tags.len() > limits::TAGS {
            return Err(Error::invalid(format!(
                "{} tags, more than the {} allowed",
                self.tags.len(),
                limits::TAGS
            )));
        }
        if let Some(key) = &self.unique_key
            && !(1..=limits::UNIQUE_KEY_STORED).contains(&key.len())
        {
            return Err(Error::invalid(format!(
                "a stored unique_key has 1 to {} bytes; this one has {}",
                limits::UNIQUE_KEY_STORED,
                key.len()
            )));
        }
        check_count("max_attempts", self.max_attempts)?;
        check_count("max_crashes", self.max_crashes)?;
        check_span("retain", Some(self.retain))?;
        check_span("expires", self.expires)?;
        check_span("deadline", self.deadline)?;
        check_span("timeout", self.timeout)?;
        check_timeout(self.timeout)?;
        check_backoff(self.backoff.as_ref())
    }
}

/// The largest `max_attempts` or `max_crashes`.
const COUNT_MAX: u32 = 1000;

fn check_count(field: &str, count: u32) -> Result<(), Error> {
    if (1..=COUNT_MAX).contains(&count) {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "`{field}` is {count}: it takes 1 to {COUNT_MAX}"
    )))
}

/// Checks a span of time a user gave.
#[doc(hidden)]
pub fn check_span(field: &str, span: Option<Duration>) -> Result<(), Error> {
    match span {
        Some(span) if span > limits::SPAN => Err(Error::invalid(format!(
            "`{field}` is longer than ten years"
        ))),
        _ => Ok(()),
    }
}

/// Refuses a timeout of zero: every attempt would exceed it.
fn check_timeout(timeout: Option<Duration>) -> Result<(), Error> {
    if timeout.is_some_and(|span| span.is_zero()) {
        return Err(Error::invalid(
            "`timeout` is zero: leave it out for the job's own",
        ));
    }
    Ok(())
}

fn check_backoff(backoff: Option<&StoredBackoff>) -> Result<(), Error> {
    if backoff.is_none_or(StoredBackoff::is_short) {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "`backoff` has more than {} steps",
        limits::BACKOFF_STEPS
    )))
}

/// Checks a job's name: 1–128 bytes of `[A-Za-z0-9._:-]`.
#[doc(hidden)]
pub fn check_name(name: &str) -> Result<(), Error> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b':' | b'-');
    if (1..=limits::NAME).contains(&name.len()) && name.bytes().all(fits) {
        return Ok(());
    }
    let max = limits::NAME;
    Err(Error::invalid(format!(
        "job names are 1–{max} bytes of `A-Z a-z 0-9 . _ : -`"
    ))
    .with("name", name.escape_debug()))
}

/// Checks a queue's name: `[a-z0-9][a-z0-9_.-]{0,63}`.
#[doc(hidden)]
pub fn check_queue(name: &str) -> Result<(), Error> {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let first = name.bytes().next().is_some_and(fits);
    let all = name
        .bytes()
        .all(|b| fits(b) || matches!(b, b'.' | b'_' | b'-'));
    if first && all && name.len() <= limits::QUEUE {
        return Ok(());
    }
    let max = limits::QUEUE;
    Err(Error::invalid(format!(
        "queue names are 1–{max} bytes of `a-z 0-9 . _ -` and start with a letter or digit"
    ))
    .with("queue", name.escape_debug()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(change: impl FnOnce(&mut JobSpec), says: &str) {
        let mut spec = JobSpec::new("a", Json::null());
        change(&mut spec);
        let error = spec.validate(limits::METADATA).expect_err(says);
        assert!(error.to_string().contains(says), "{error}");
    }

    #[test]
    fn what_is_too_much_is_refused_by_name() {
        check(
            |s| s.metadata = Json::trusted("1".repeat(limits::METADATA + 1)),
            "metadata is",
        );
        check(|s| s.name = "".into(), "job names are");
        check(|s| s.name = "a b".into(), "name: a b");
        check(|s| s.queue = "../up".into(), "queue names are");
        check(|s| s.queue = "A".into(), "queue names are");
        check(|s| s.tags = vec![String::new(); 33], "33 tags");
        check(|s| s.unique_key = Some(String::new()), "unique_key");
        check(|s| s.max_attempts = 0, "`max_attempts` is 0");
        check(|s| s.retain = Duration::MAX, "`retain` is longer");
        check(|s| s.timeout = Some(Duration::MAX), "`timeout` is longer");
        check(|s| s.timeout = Some(Duration::ZERO), "`timeout` is zero");
        check(
            |s| _ = s.headers.insert("k".into(), "v".repeat(limits::HEADERS)),
            "headers and tags",
        );
    }
}
