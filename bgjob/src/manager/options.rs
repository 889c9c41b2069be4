//! Options of one enqueue; they override the job's attribute.

use std::{sync::Arc, time::Duration};

use crate::{
    Backoff, Error, JobSpec, Priority, Result, Timestamp,
    job::{Due, StoredBackoff, limits},
};

/// Options of one enqueue; they override the job's attribute.
#[derive(Debug, Default)]
pub(super) struct Options {
    pub(super) due: Due,
    pub(super) queue: Option<Arc<str>>,
    pub(super) priority: Option<Priority>,
    pub(super) version: Option<u32>,
    pub(super) max_attempts: Option<u32>,
    pub(super) max_crashes: Option<u32>,
    pub(super) timeout: Option<Duration>,
    pub(super) backoff: Option<Backoff>,
    pub(super) expires: Option<Duration>,
    pub(super) deadline: Option<Duration>,
    pub(super) retain: Option<Duration>,
    pub(super) headers: Vec<(String, String)>,
    pub(super) tags: Vec<String>,
}

impl Options {
    /// Checks the options that only an enqueue has. The limits of a spec are checked with the spec.
    pub(super) fn apply(&self, spec: &mut JobSpec) -> Result<()> {
        check_due(self.due)?;
        not_zero("expires", self.expires)?;
        not_zero("deadline", self.deadline)?;
        if let Some(queue) = &self.queue {
            spec.queue = Arc::clone(queue);
        }
        spec.priority = self.priority.unwrap_or(spec.priority);
        spec.version = self.version.unwrap_or(spec.version);
        spec.max_attempts = self.max_attempts.unwrap_or(spec.max_attempts);
        spec.max_crashes = self.max_crashes.unwrap_or(spec.max_crashes);
        spec.timeout = self.timeout;
        spec.backoff = self.backoff.map(StoredBackoff::try_from).transpose()?;
        spec.expires = self.expires.or(spec.expires);
        spec.deadline = self.deadline.or(spec.deadline);
        spec.retain = self.retain.unwrap_or(spec.retain);
        spec.headers.extend(self.headers.iter().cloned());
        spec.tags.extend(self.tags.iter().cloned());
        Ok(())
    }
}

/// Checks that a job is due within ten years.
pub(super) fn check_due(due: Due) -> Result<()> {
    match due {
        Due::After(delay) if delay > limits::SPAN => {
            Err(Error::invalid("`delay` is longer than ten years"))
        }
        Due::At(time) if time > Timestamp::now() + limits::SPAN => {
            Err(Error::invalid("`at` is more than ten years from now"))
        }
        _ => Ok(()),
    }
}

fn not_zero(field: &str, span: Option<Duration>) -> Result<()> {
    if span.is_some_and(|span| span.is_zero()) {
        return Err(Error::invalid(format!(
            "`{field}` is zero: leave it out for the job's own"
        )));
    }
    Ok(())
}

/// The options that `Enqueue` and `EnqueueAll` share.
macro_rules! options {
    () => {
        /// Due this long from now, by the store's clock; at most ten years.
        #[doc(alias = "enqueue_in")]
        #[doc(alias = "perform_in")]
        #[doc(alias = "countdown")]
        #[doc(alias = "schedule_in")]
        pub fn delay(mut self, delay: Duration) -> Self {
            self.options.due = Due::After(delay);
            self
        }

        /// Due at this time, at most ten years from now. A time that has passed means now.
        #[doc(alias = "enqueue_at")]
        #[doc(alias = "perform_at")]
        #[doc(alias = "eta")]
        #[doc(alias = "scheduled_at")]
        pub fn at(mut self, time: SystemTime) -> Self {
            self.options.due = Due::At(time.into());
            self
        }

        /// Uses this queue instead of the job's own.
        pub fn queue(mut self, queue: impl Into<Arc<str>>) -> Self {
            self.options.queue = Some(queue.into());
            self
        }

        /// Uses this priority instead of the job's own.
        pub fn priority(mut self, priority: Priority) -> Self {
            self.options.priority = Some(priority);
            self
        }

        /// Sets the version of the metadata. This is for raw enqueues: the typed ones know it.
        pub fn version(mut self, version: u32) -> Self {
            self.options.version = Some(version);
            self
        }

        /// Dead after this many errors instead of the job's own number; 1 to 1000.
        #[doc(alias = "max_retries")]
        #[doc(alias = "retries")]
        pub fn max_attempts(mut self, attempts: u32) -> Self {
            self.options.max_attempts = Some(attempts);
            self
        }

        /// Dead after this many crashes of its process instead of the job's own number; 1 to 1000.
        pub fn max_crashes(mut self, crashes: u32) -> Self {
            self.options.max_crashes = Some(crashes);
            self
        }

        /// An attempt may take this long, instead of the job's own timeout; more than zero, at most
        /// ten years.
        pub fn timeout(mut self, timeout: Duration) -> Self {
            self.options.timeout = Some(timeout);
            self
        }

        /// Waits like this after an error, instead of the job's own backoff. It is stored with the
        /// job, so it can't be a function ([`Backoff::custom`]); at most 100 steps.
        #[doc(alias = "retry_delay")]
        pub fn backoff(mut self, backoff: Backoff) -> Self {
            self.options.backoff = Some(backoff);
            self
        }

        /// Dead if it has not started this long after it was due, instead of the job's own time;
        /// more than zero, at most ten years.
        pub fn expires(mut self, expires: Duration) -> Self {
            self.options.expires = Some(expires);
            self
        }

        /// Dead if it has not ended this long after it was due, over all attempts, instead of the
        /// job's own time; more than zero, at most ten years.
        pub fn deadline(mut self, deadline: Duration) -> Self {
            self.options.deadline = Some(deadline);
            self
        }

        /// Kept this long after it succeeded or was cancelled, instead of the job's own time.
        #[doc(alias = "ttl")]
        #[doc(alias = "retention")]
        pub fn retain(mut self, retain: Duration) -> Self {
            self.options.retain = Some(retain);
            self
        }

        /// Adds a pair that is stored with the job. All pairs and tags: at most 16 KiB.
        pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
            self.options.headers.push((name.into(), value.into()));
            self
        }

        /// Adds a tag to find the job by; at most 32.
        pub fn tag(mut self, tag: impl Into<String>) -> Self {
            self.options.tags.push(tag.into());
            self
        }
    };
}
pub(super) use options;
