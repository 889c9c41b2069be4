//! [`assert_enqueued!`](crate::assert_enqueued) and [`refute_enqueued!`](crate::refute_enqueued):
//! what they look for, and the message when they fail.

use std::{fmt::Write, time::Duration};

use serde_json::Value;

use super::{
    diff::differences,
    jobs::{all, answered},
    run::span,
};
use crate::{
    Enqueue, Job, JobId, JobItem, JobManager, JobState, Json, Metadata, Priority, Timestamp,
    job::{UniqueKey, Wide},
    registry::JobDescriptor,
    store::Filter,
};

/// The most jobs that a failure shows of those that do not fit.
const SHOWN: usize = 5;

/// Asserts that a job waits. Takes the job's function, then its metadata or a predicate (or
/// neither), then any of `queue`, `priority`, `tag`, `header`, `unique_key`, `shared_unique_key`,
/// `max_attempts`, `delay`, `at`, `id`, and `count` (exactly this many jobs fit). Returns the jobs
/// that fit, in the order of their ids. It awaits the store, so the test must be async.
///
/// `at` is the time given to `.at(…)`. `delay` counts from the enqueue by the store's clock. In a
/// [`TestJobs`](crate::testing::TestJobs) that clock is a minute ahead of the host's.
///
/// If no job fits, it panics. The message says what was looked for and which jobs wait, nearest
/// first. It shows their metadata, because the metadata is the test's own.
///
/// ```
/// use bgjob::{Priority, assert_enqueued, job, refute_enqueued, testing::TestJobs};
/// use std::time::Duration;
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Image { id: u64, width: u32 }
///
/// #[job(name = "assert_resize", queue = "images")]
/// async fn resize(image: Image) {}
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> bgjob::Result<()> {
/// let jobs = TestJobs::new();
/// resize::enqueue(&jobs, Image { id: 7, width: 80 }).tag("avatar").await?;
///
/// assert_enqueued!(jobs, resize);
/// assert_enqueued!(jobs, resize, Image { id: 7, width: 80 });
/// assert_enqueued!(jobs, resize, |image| image.id == 7, queue = "images", tag = "avatar");
/// assert_enqueued!(jobs, resize, |image: &Image| image.width < 100);
/// assert_enqueued!(jobs, resize, delay = Duration::ZERO, count = 1);
/// refute_enqueued!(jobs, resize, priority = Priority::High);
/// # Ok(()) }
/// ```
#[macro_export]
macro_rules! assert_enqueued {
    ($jobs:expr, $job:ty $(, $($what:tt)*)?) => {{
        let seen = $crate::testing::Seen::of(&$jobs).await;
        let enqueued = $crate::testing::Enqueued::new::<$job, _>(<$job>::enqueue);
        let enqueued = $crate::__enqueued!(assert enqueued; $($($what)*)?);
        match enqueued.assert(&seen) {
            ::core::result::Result::Ok(jobs) => jobs,
            ::core::result::Result::Err(text) => ::core::panic!("{}", text),
        }
    }};
}

/// Asserts that no such job waits. Takes the same arguments as
/// [`assert_enqueued!`](crate::assert_enqueued), except `count`.
#[macro_export]
macro_rules! refute_enqueued {
    ($jobs:expr, $job:ty $(, $($what:tt)*)?) => {{
        let seen = $crate::testing::Seen::of(&$jobs).await;
        let enqueued = $crate::testing::Enqueued::new::<$job, _>(<$job>::enqueue);
        let enqueued = $crate::__enqueued!(refute enqueued; $($($what)*)?);
        if let ::core::result::Result::Err(text) = enqueued.refute(&seen) {
            ::core::panic!("{}", text);
        }
    }};
}

/// `key = value` becomes a call, a closure a predicate, anything else the metadata. The first word
/// says which of the two macros asks.
#[doc(hidden)]
#[macro_export]
macro_rules! __enqueued {
    ($who:ident $look:expr;) => { $look };
    (refute $look:expr; count = $($rest:tt)*) => {
        ::core::compile_error!(
            "`refute_enqueued!` takes no `count`: it asserts that no job fits; how many do is for \
             `assert_enqueued!(…, count = n)`"
        )
    };
    ($who:ident $look:expr; $key:ident = $value:expr $(, $($rest:tt)*)?) => {
        $crate::__enqueued!($who $look.$key($value); $($($rest)*)?)
    };
    // The first token shows that it is a closure, which is taken whole, with its types.
    ($who:ident $look:expr; | $($rest:tt)*) => {
        $crate::__enqueued!(@fits $who $look; | $($rest)*)
    };
    ($who:ident $look:expr; move $($rest:tt)*) => {
        $crate::__enqueued!(@fits $who $look; move $($rest)*)
    };
    (@fits $who:ident $look:expr; $fits:expr $(, $($rest:tt)*)?) => {
        $crate::__enqueued!($who $look.fits($fits, ::core::stringify!($fits)); $($($rest)*)?)
    };
    ($who:ident $look:expr; $metadata:expr $(, $($rest:tt)*)?) => {
        $crate::__enqueued!($who $look.metadata(&$metadata); $($($rest)*)?)
    };
}

/// A search among the jobs that wait. The two macros build it.
#[doc(hidden)]
#[must_use]
#[allow(missing_debug_implementations, reason = "lives within a macro")]
pub struct Enqueued<'a, M> {
    job: &'static JobDescriptor,
    /// The conditions, in words.
    asked: Vec<String>,
    /// The conditions that a job does not meet, in words. Empty if the job fits.
    checks: Vec<Check<'a>>,
    count: Option<usize>,
    metadata: std::marker::PhantomData<fn(M)>,
}

type Check<'a> = Box<dyn Fn(&Job) -> Vec<String> + 'a>;

#[doc(hidden)]
#[allow(missing_docs, reason = "each is a word of `assert_enqueued!`")]
impl<'a, M: Metadata> Enqueued<'a, M> {
    /// The function is an argument only for the type of its metadata.
    pub fn new<T: JobItem, R>(_: fn(&JobManager, M) -> Enqueue<M, R>) -> Self {
        Self {
            job: T::descriptor(),
            asked: Vec::new(),
            checks: Vec::new(),
            count: None,
            metadata: std::marker::PhantomData,
        }
    }

    pub fn metadata(mut self, metadata: &M) -> Self {
        let wanted = value(&Json::encode(metadata).unwrap_or_else(|error| panic!("{error}")));
        self.asked.push(format!("metadata {wanted}"));
        let check = move |job: &Job| differences("metadata", &value(&job.spec.metadata), &wanted);
        self.checks.push(Box::new(check));
        self
    }

    pub fn fits(mut self, fits: impl Fn(&M) -> bool + 'a, written: &'static str) -> Self {
        // The macro's own `|` comes with a space.
        let text = written.strip_prefix("| ").map(|rest| format!("|{rest}"));
        let text = text.as_deref().unwrap_or(written);
        self.asked.push(format!("metadata that fits {text}"));
        let check = move |job: &Job| match job.spec.metadata.decode::<M>() {
            Ok(metadata) if fits(&metadata) => Vec::new(),
            Ok(_) => vec![format!("metadata is {}", job.spec.metadata.as_str())],
            Err(_) => vec![format!(
                "metadata can't be read: {}",
                job.spec.metadata.as_str()
            )],
        };
        self.checks.push(Box::new(check));
        self
    }

    pub fn queue(self, queue: &str) -> Self {
        self.equal("queue", queue.to_owned(), |job| job.spec.queue.to_string())
    }

    pub fn priority(self, priority: Priority) -> Self {
        self.equal("priority", priority, |job| job.spec.priority)
    }

    pub fn max_attempts(self, attempts: u32) -> Self {
        self.equal("max_attempts", attempts, |job| job.spec.max_attempts)
    }

    pub fn unique_key(self, key: &str) -> Self {
        let name = self.job.oldest_name();
        self.key("unique_key", name, &UniqueKey::OfJob(key.to_owned()))
    }

    pub fn shared_unique_key(self, key: &str) -> Self {
        self.key("shared_unique_key", "*", &UniqueKey::Shared(key.to_owned()))
    }

    pub fn id(self, id: JobId) -> Self {
        self.equal("id", id, |job| job.id)
    }

    pub fn delay(self, delay: Duration) -> Self {
        self.check(format!("delay {}", span(delay)), move |job| {
            let has = job.due_at.since(job.created_at);
            (has != delay).then(|| format!("delay is {}, not {}", span(has), span(delay)))
        })
    }

    pub fn at(self, at: impl Into<Timestamp>) -> Self {
        let at = at.into();
        self.check(format!("at {at}"), move |job| {
            (job.due_at != at).then(|| format!("at is {}, not {at}", job.due_at))
        })
    }

    pub fn tag(self, tag: &str) -> Self {
        let (tag, asked) = (tag.to_owned(), format!("tag {tag:?}"));
        self.check(asked, move |job| {
            let tags = &job.spec.tags;
            (!tags.contains(&tag)).then(|| format!("tags are {tags:?}, without {tag:?}"))
        })
    }

    pub fn header(self, (name, wanted): (&str, &str)) -> Self {
        let asked = format!("header {name} {wanted:?}");
        let (name, wanted) = (name.to_owned(), wanted.to_owned());
        self.check(asked, move |job| match job.spec.headers.get(&name) {
            Some(value) if *value == wanted => None,
            Some(value) => Some(format!("header {name} is {value:?}, not {wanted:?}")),
            None => Some(format!("header {name} is missing")),
        })
    }

    pub fn count(mut self, count: usize) -> Self {
        self.count = Some(count);
        self
    }

    fn equal<V>(self, name: &'static str, wanted: V, of: fn(&Job) -> V) -> Self
    where
        V: PartialEq + std::fmt::Debug + 'a,
    {
        let asked = format!("{name} {wanted:?}");
        self.check(asked, move |job| {
            let is = of(job);
            (is != wanted).then(|| format!("{name} is {is:?}, not {wanted:?}"))
        })
    }

    /// A key that belongs to this name.
    fn key(self, word: &'static str, name: &'static str, key: &UniqueKey) -> Self {
        let stored = key.stored(name).unwrap_or_else(|error| panic!("{error}"));
        let key = format!("{:?}", &stored[name.len() + 1..]);
        self.check(format!("{word} {key}"), move |job| {
            let has = job.spec.unique_key.as_deref();
            match has.map(|has| has.split_once('/').unwrap_or(("", has))) {
                Some((owner, _)) if owner != name => Some(format!("{word} is missing")),
                Some((_, has)) if *has == stored[name.len() + 1..] => None,
                Some((_, has)) => Some(format!("{word} is {has:?}, not {key}")),
                None => Some(format!("{word} is missing")),
            }
        })
    }

    fn check(mut self, asked: String, misses: impl Fn(&Job) -> Option<String> + 'a) -> Self {
        self.asked.push(asked);
        self.checks
            .push(Box::new(move |job| misses(job).into_iter().collect()));
        self
    }

    /// The jobs that fit, or the message of the failure.
    pub fn assert(&self, seen: &Seen) -> Result<Vec<Job>, String> {
        let fitting = self.fitting(seen);
        let wrong = match (fitting.len(), self.count) {
            (0, None) => "no waiting job fits".to_owned(),
            (n, Some(wanted)) if n != wanted => {
                format!("{} waiting fit, not {wanted}", jobs_in_words(n))
            }
            _ => return Ok(fitting.into_iter().cloned().collect()),
        };
        let mut text = self.asked(&wrong);
        self.show(&mut text, seen);
        Err(text)
    }

    /// The message of the failure, if a job fits.
    pub fn refute(&self, seen: &Seen) -> Result<(), String> {
        let fitting = self.fitting(seen);
        if fitting.is_empty() {
            return Ok(());
        }
        let mut text = self.asked("a waiting job fits that should not be there");
        let _ = write!(
            text,
            "\nthose that fit, of {}:",
            jobs_in_words(seen.jobs.len())
        );
        for job in fitting.iter().take(SHOWN) {
            let _ = write!(
                text,
                "\n  {}\n    metadata is {}",
                seen.line(job),
                job.spec.metadata.as_str()
            );
        }
        more(&mut text, fitting.len());
        Err(text)
    }

    fn fitting<'s>(&self, seen: &'s Seen) -> Vec<&'s Job> {
        let fits = |job: &&Job| self.misses(job).is_empty();
        seen.jobs.iter().filter(fits).collect()
    }

    /// Why the job does not fit. A job of another name is not compared further.
    fn misses(&self, job: &Job) -> Vec<String> {
        if !self.is_of_job(job) {
            return vec![format!("is no `{}`", self.job.name())];
        }
        let state = job.state();
        let over = (state != JobState::Ready).then(|| format!("is {state}, does not wait"));
        let misses = self.checks.iter().flat_map(|check| check(job));
        over.into_iter().chain(misses).collect()
    }

    fn is_of_job(&self, job: &Job) -> bool {
        self.job.names().any(|name| *name == *job.spec.name)
    }

    /// `no waiting job fits: send_welcome with`, then the conditions, one a line.
    fn asked(&self, what: &str) -> String {
        let mut text = format!("{what}: {}", self.job.name());
        for asked in &self.asked {
            let _ = write!(text, "\n  with {asked}");
        }
        text
    }

    /// The jobs that wait, nearest first.
    fn show(&self, text: &mut String, seen: &Seen) {
        let mut jobs: Vec<_> = seen
            .jobs
            .iter()
            .map(|job| (self.misses(job), job))
            .collect();
        jobs.sort_by_key(|(misses, job)| (!self.is_of_job(job), misses.len(), job.id));
        let _ = match jobs.len() {
            0 => write!(text, "\nthere are no jobs at all"),
            n => write!(text, "\nnearest first, of {}:", jobs_in_words(n)),
        };
        for (misses, job) in jobs.iter().take(SHOWN) {
            let _ = write!(text, "\n  {}", seen.line(job));
            for miss in misses.iter().filter(|_| self.is_of_job(job)) {
                let _ = write!(text, "\n    {miss}");
            }
        }
        more(text, jobs.len());
    }
}

/// All jobs of the store, and its time. They are read before the search begins, so that a predicate
/// need not be `Send`.
#[doc(hidden)]
#[derive(Debug)]
pub struct Seen {
    jobs: Vec<Job>,
    now: Timestamp,
}

impl Seen {
    /// Reads the jobs and the time.
    pub async fn of(jobs: &JobManager) -> Self {
        let now = answered(jobs.store().now().await);
        let jobs = all(jobs.store(), &Filter::default()).await;
        Self { jobs, now }
    }

    /// `send_welcome  due in 1h`
    fn line(&self, job: &Job) -> String {
        let state = match job.state() {
            JobState::Ready if job.due_at <= self.now => "due now".to_owned(),
            JobState::Ready => format!("due in {}", span(job.due_at.since(self.now))),
            state => state.to_string(),
        };
        format!("{}  {state}", job.spec.name)
    }
}

fn jobs_in_words(n: usize) -> String {
    if n == 1 {
        "1 job".to_owned()
    } else {
        format!("{n} jobs")
    }
}

fn more(text: &mut String, n: usize) {
    if n > SHOWN {
        let _ = write!(text, "\n  and {} more", n - SHOWN);
    }
}

fn value(json: &Json) -> Value {
    // A stored text may not be JSON. Then it is shown as a string.
    Wide::of(json).map_or_else(
        |_| Value::String(json.as_str().to_owned()),
        |wide| wide.value,
    )
}
