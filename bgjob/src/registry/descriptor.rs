//! [`JobDescriptor`]: a job's name, handler and default options.

use std::{
    fmt,
    panic::Location,
    pin::Pin,
    sync::{Arc, OnceLock},
    time::Duration,
};

use crate::{
    Backoff, JobContext, JobSpec, Json, Outcome, Priority, Result,
    extract::{Needs, Upgrade},
};

/// A running handler: decode, extract, run, encode.
pub type HandlerFuture = Pin<Box<dyn Future<Output = Outcome<Json>> + Send>>;

/// A function that runs one attempt.
pub type Handler = fn(JobContext) -> HandlerFuture;

/// A function that checks whether metadata can be read back as the type that the job takes.
pub type ReadBack = fn(&Json) -> Result<()>;

/// A job's name, handler and default options. `#[job]` makes one, a `static`, for each function.
///
/// ```
/// use bgjob::{Json, Outcome, registry::JobDescriptor};
///
/// static PING: JobDescriptor =
///     JobDescriptor::new("ping", |_ctx| Box::pin(async { Outcome::Success(Json::null()) }))
///         .with_queue("health")
///         .with_max_attempts(1);
///
/// assert_eq!(PING.name(), "ping");
/// assert_eq!(&*PING.spec(Json::null()).queue, "health");
/// ```
pub struct JobDescriptor {
    name: &'static str,
    aliases: &'static [&'static str],
    queue: &'static str,
    priority: Priority,
    max_attempts: u32,
    max_crashes: u32,
    backoff: Backoff,
    timeout: Duration,
    expires: Option<Duration>,
    deadline: Option<Duration>,
    retain: Duration,
    version: u32,
    upgrade: Option<Upgrade>,
    blocking: bool,
    /// Another program runs the job.
    signature: bool,
    /// Returns the name of its metadata's type, if known.
    metadata: Option<fn() -> &'static str>,
    handler: Handler,
    read_back: Option<ReadBack>,
    needs: fn(&mut Needs),
    location: &'static Location<'static>,
    /// Name and queue as jobs carry them: created once, so that an enqueue only counts references.
    shared: OnceLock<(Arc<str>, Arc<str>)>,
    /// All its names, if it has more than one. Set at first use.
    family: OnceLock<Vec<&'static str>>,
}

impl JobDescriptor {
    /// How long an attempt may take by default.
    pub const TIMEOUT: Duration = Duration::from_secs(5 * 60);

    /// A job of this name with everything else at its default. Its source location is the caller's.
    #[track_caller]
    pub const fn new(name: &'static str, handler: Handler) -> Self {
        Self {
            name,
            aliases: &[],
            queue: JobSpec::QUEUE,
            priority: Priority::Normal,
            max_attempts: JobSpec::MAX_ATTEMPTS,
            max_crashes: JobSpec::MAX_CRASHES,
            backoff: Backoff::DEFAULT,
            timeout: Self::TIMEOUT,
            expires: None,
            deadline: None,
            retain: JobSpec::RETAIN,
            version: 0,
            upgrade: None,
            blocking: false,
            signature: false,
            metadata: None,
            handler,
            read_back: None,
            needs: |_| {},
            location: Location::caller(),
            shared: OnceLock::new(),
            family: OnceLock::new(),
        }
    }

    /// A job that this program enqueues and another program runs. Its source location is the
    /// caller's.
    #[track_caller]
    pub const fn signature(name: &'static str) -> Self {
        // Never called: no registry accepts a signature.
        let mut this = Self::new(name, |_| Box::pin(std::future::pending()));
        this.signature = true;
        this
    }

    /// Earlier names of the job, the oldest first; jobs stored under them still run.
    #[must_use]
    pub const fn with_aliases(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }

    /// The queue it waits in.
    #[must_use]
    pub const fn with_queue(mut self, queue: &'static str) -> Self {
        self.queue = queue;
        self
    }

    /// How urgent it is.
    #[must_use]
    pub const fn with_priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// How many errors end it.
    #[must_use]
    pub const fn with_max_attempts(mut self, errors: u32) -> Self {
        self.max_attempts = errors;
        self
    }

    /// How many crashes of its process end it.
    #[must_use]
    pub const fn with_max_crashes(mut self, crashes: u32) -> Self {
        self.max_crashes = crashes;
        self
    }

    /// How long it waits after an error.
    #[must_use]
    pub const fn with_backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// How long an attempt may take.
    #[must_use]
    pub const fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How long it may wait for its first start, from when it is due.
    #[must_use]
    pub const fn with_expires(mut self, expires: Duration) -> Self {
        self.expires = Some(expires);
        self
    }

    /// How long all its attempts together may take, from when it is due.
    #[must_use]
    pub const fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// How long it is kept once it succeeded or was cancelled; zero deletes it at once.
    #[must_use]
    pub const fn with_retain(mut self, retain: Duration) -> Self {
        self.retain = retain;
        self
    }

    /// The version of its metadata, and the function that upgrades older versions to it. Without an
    /// `upgrade`, the current type reads the older versions too.
    #[must_use]
    pub const fn with_version(mut self, version: u32, upgrade: Option<Upgrade>) -> Self {
        self.version = version;
        self.upgrade = upgrade;
        self
    }

    /// Whether it runs off the async threads, so that a started attempt can't be dropped.
    #[must_use]
    pub const fn with_blocking(mut self, blocking: bool) -> Self {
        self.blocking = blocking;
        self
    }

    /// The check that metadata can be read back. Typed enqueues run it in debug builds.
    #[must_use]
    pub const fn with_read_back(mut self, check: Option<ReadBack>) -> Self {
        self.read_back = check;
        self
    }

    /// The function that returns the name of its metadata's type: `std::any::type_name::<Image>`.
    #[must_use]
    pub const fn with_metadata(mut self, name: fn() -> &'static str) -> Self {
        self.metadata = Some(name);
        self
    }

    /// The services that its handler needs from a dispatcher.
    #[must_use]
    pub const fn with_needs(mut self, needs: fn(&mut Needs)) -> Self {
        self.needs = needs;
        self
    }

    /// Its name, which stored jobs carry.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Earlier names of the job, the oldest first.
    pub const fn aliases(&self) -> &'static [&'static str] {
        self.aliases
    }

    /// Its name and its aliases.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.name).chain(self.aliases.iter().copied())
    }

    /// Its name and its aliases, as a new job carries them; empty if it has only one name.
    pub(crate) fn family(&'static self) -> &'static [&'static str] {
        if self.aliases.is_empty() {
            return &[];
        }
        self.family.get_or_init(|| self.names().collect())
    }

    /// Its oldest name; its unique keys belong to this name.
    pub(crate) fn oldest_name(&self) -> &'static str {
        self.aliases.first().copied().unwrap_or(self.name)
    }

    /// The queue it waits in by default; an enqueue can override it.
    pub const fn queue(&self) -> &'static str {
        self.queue
    }

    /// How urgent it is by default; an enqueue can override it.
    pub const fn priority(&self) -> Priority {
        self.priority
    }

    /// How many errors end it by default; an enqueue can override it.
    pub const fn max_attempts(&self) -> u32 {
        self.max_attempts
    }

    /// How many crashes of its process end it by default; an enqueue can override it.
    pub const fn max_crashes(&self) -> u32 {
        self.max_crashes
    }

    /// How long it waits after an error by default; an enqueue can override it.
    pub const fn backoff(&self) -> &Backoff {
        &self.backoff
    }

    /// How long an attempt may take by default; an enqueue can override it.
    pub const fn timeout(&self) -> Duration {
        self.timeout
    }

    /// How long it may wait for its first start, from when it is due.
    pub const fn expires(&self) -> Option<Duration> {
        self.expires
    }

    /// How long all its attempts together may take, from when it is due.
    pub const fn deadline(&self) -> Option<Duration> {
        self.deadline
    }

    /// How long it is kept once it succeeded or was cancelled.
    pub const fn retain(&self) -> Duration {
        self.retain
    }

    /// The version of its metadata.
    pub const fn version(&self) -> u32 {
        self.version
    }

    /// The function that upgrades metadata of an older version.
    pub const fn upgrade(&self) -> Option<Upgrade> {
        self.upgrade
    }

    /// Whether it runs off the async threads, so that a started attempt can't be dropped.
    pub const fn is_blocking(&self) -> bool {
        self.blocking
    }

    /// Whether another program runs it, so that there is no handler here.
    pub const fn is_signature(&self) -> bool {
        self.signature
    }

    /// The function that runs one attempt.
    pub const fn handler(&self) -> Handler {
        self.handler
    }

    /// The check that metadata can be read back.
    pub const fn read_back(&self) -> Option<ReadBack> {
        self.read_back
    }

    /// The services that its handler needs from a dispatcher.
    pub fn needs(&self) -> Needs {
        let mut needs = Needs::default();
        (self.needs)(&mut needs);
        needs
    }

    /// The source file it is defined in.
    pub const fn file(&self) -> &'static str {
        self.location.file()
    }

    /// The line it is defined in.
    pub const fn line(&self) -> u32 {
        self.location.line()
    }

    /// Where it is defined, for messages: `src/mail.rs:12`.
    pub(super) fn place(&self) -> String {
        format!("{}:{}", self.file(), self.line())
    }

    /// The spec of a job whose enqueue overrides nothing. Allocates nothing after the first call.
    pub fn spec(&self, metadata: Json) -> JobSpec {
        let (name, queue) = self
            .shared
            .get_or_init(|| (self.name.into(), self.queue.into()))
            .clone();
        let mut spec = JobSpec::in_queue(queue, name, metadata);
        spec.version = self.version;
        spec.priority = self.priority;
        spec.max_attempts = self.max_attempts;
        spec.max_crashes = self.max_crashes;
        spec.expires = self.expires;
        spec.deadline = self.deadline;
        spec.retain = self.retain;
        spec
    }

    /// How a signature differs from the job it stands for, one phrase per difference.
    pub(super) fn differences(&self, signature: &Self) -> Vec<String> {
        let mut said = Vec::new();
        let mut compare = |what: &str, ours: &dyn fmt::Debug, theirs: &dyn fmt::Debug| {
            let (ours, theirs) = (format!("{ours:?}"), format!("{theirs:?}"));
            if ours != theirs {
                said.push(format!("`{what}` is {theirs} there and {ours} here"));
            }
        };
        // Unique keys belong to the oldest name.
        compare(
            "the oldest name",
            &self.oldest_name(),
            &signature.oldest_name(),
        );
        compare("queue", &self.queue, &signature.queue);
        compare("priority", &self.priority, &signature.priority);
        compare("version", &self.version, &signature.version);
        compare("max_attempts", &self.max_attempts, &signature.max_attempts);
        compare("max_crashes", &self.max_crashes, &signature.max_crashes);
        compare("expires", &self.expires, &signature.expires);
        compare("deadline", &self.deadline, &signature.deadline);
        compare("retain", &self.retain, &signature.retain);
        // The defaults for time-out and backoff are not stored with a job: a signature may omit
        // them.
        if signature.timeout != Self::TIMEOUT {
            compare("timeout", &self.timeout, &signature.timeout);
        }
        if let (Some(ours), Some(theirs)) = (self.metadata, signature.metadata) {
            compare("the metadata", &ours(), &theirs());
        }
        said
    }

    /// How long an attempt of this job may take: the enqueue's time-out, or else the descriptor's.
    pub fn timeout_of(&self, spec: &JobSpec) -> Duration {
        spec.timeout.unwrap_or(self.timeout)
    }

    /// How long this job waits after its error number `errors`, jittered with `random` from
    /// `0.0..1.0`.
    pub(crate) fn wait_of(&self, spec: &JobSpec, errors: u32, random: f64) -> Duration {
        match &spec.backoff {
            Some(own) => own.jittered(errors, random),
            None => self.backoff.jittered(errors, random),
        }
    }
}

impl fmt::Debug for JobDescriptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobDescriptor")
            .field("name", &self.name)
            .field("queue", &self.queue)
            .field("version", &self.version)
            .field("defined", &self.place())
            .finish_non_exhaustive()
    }
}
