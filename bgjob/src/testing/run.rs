//! [`Run`]: the result of one attempt; [`Runs`]: what a drain ran, as a timeline.

use std::{fmt, ops::Deref, time::Duration};

use serde::de::DeserializeOwned;

use crate::{
    Job, JobItem, JobState, Json, Outcome, Timestamp,
    job::{End, Failure, Retry},
};

/// The result of one attempt: its outcome, and the job as it stood afterwards.
///
/// ```
/// use bgjob::prelude::*;
///
/// #[job(name = "halve_run")]
/// async fn halve(number: u32) -> Result<u32, JobError> {
///     if number % 2 == 1 {
///         return Err(JobError::abort("odd"));
///     }
///     Ok(number / 2)
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let run = halve::perform(3).await;
/// assert_eq!(run.failure().message(), "odd");
/// assert_eq!(run.job.state(), JobState::Dead);
/// assert_eq!(run.to_string(), "halve_run  attempt 1  dead (aborted): odd");
/// # }
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Run<T = Json> {
    /// How the attempt ended. A retry says how long it waits.
    pub outcome: Outcome<T>,
    /// The job after the attempt: its state, when it is due again, its history, its progress.
    pub job: Job,
    /// The number of the attempt: 1 for the first, 2 after one error.
    pub attempt: u32,
    /// When the attempt began, by the test's clock.
    pub at: Timestamp,
}

impl<T> Run<T> {
    /// What the function returned.
    ///
    /// # Panics
    /// If the attempt did not succeed. The message says how it ended.
    #[track_caller]
    pub fn success(self) -> T {
        match self.outcome {
            Outcome::Success(value) => value,
            _ => panic!("the attempt did not succeed: {self}"),
        }
    }

    /// The error that the attempt ended in: one that the function returned, a panic, a time-out, …
    ///
    /// # Panics
    /// If the attempt did not end in an error.
    #[track_caller]
    pub fn failure(&self) -> &Failure {
        match &self.outcome {
            Outcome::Retry { failure, .. } | Outcome::Abort { failure, .. } => failure,
            _ => panic!("the attempt did not fail: {self}"),
        }
    }

    /// Whether the attempt ended in an error.
    pub(super) fn failed(&self) -> bool {
        matches!(self.outcome, Outcome::Retry { .. } | Outcome::Abort { .. })
    }

    /// How the attempt ended, in words.
    fn ended(&self) -> String {
        let next = match (self.job.dead_reason(), self.job.state()) {
            (Some(reason), _) => format!("dead ({reason})"),
            (None, JobState::Cancelled) => "cancelled".to_owned(),
            _ => match &self.outcome {
                Outcome::Success(_) => "succeeded".to_owned(),
                Outcome::Retry { after, .. } => {
                    format!("retry in {}", span(after.unwrap_or_default()))
                }
                Outcome::Abort { .. } => "dead".to_owned(),
                Outcome::Snooze(after) => format!("snoozed for {}", span(*after)),
            },
        };
        match &self.outcome {
            Outcome::Retry { failure, .. } | Outcome::Abort { failure, .. } => {
                match failure.message() {
                    same if same == next => next,
                    message => format!("{next}: {message}"),
                }
            }
            _ => next,
        }
    }
}

impl Run<Json> {
    /// Makes a run from the end that was recorded in the store.
    pub(super) fn new(end: &End, job: Job, attempt: u32, at: Timestamp) -> Self {
        let outcome = match end.clone() {
            End::Success(result) => Outcome::Success(result),
            End::Error { failure, retry } => match retry {
                Retry::After(after) => Outcome::Retry {
                    failure,
                    after: Some(after),
                },
                Retry::Never(reason) => Outcome::Abort { failure, reason },
            },
            // A release makes the job ready again at once, at no cost.
            End::Release => Outcome::Snooze(Duration::ZERO),
            End::Snooze(after) => Outcome::Snooze(after),
        };
        Self {
            outcome,
            job,
            attempt,
            at,
        }
    }

    /// Decodes the result to the type that the function returned.
    #[track_caller]
    pub(super) fn typed<T: DeserializeOwned>(self) -> Run<T> {
        let outcome = match self.outcome {
            Outcome::Success(json) => match json.decode() {
                Ok(value) => Outcome::Success(value),
                Err(error) => panic!(
                    "the result of `{}` can't be read as the type it was written from:\n  \
                     {error}\n  written: {}\n  type: {}\n`.raw()` leaves it as JSON",
                    self.job.spec.name,
                    json.as_str(),
                    std::any::type_name::<T>(),
                ),
            },
            Outcome::Retry { failure, after } => Outcome::Retry { failure, after },
            Outcome::Abort { failure, reason } => Outcome::Abort { failure, reason },
            Outcome::Snooze(after) => Outcome::Snooze(after),
        };
        Run {
            outcome,
            job: self.job,
            attempt: self.attempt,
            at: self.at,
        }
    }
}

impl<T> fmt::Display for Run<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, attempt, ended) = (&self.job.spec.name, self.attempt, self.ended());
        write!(f, "{name}  attempt {attempt}  {ended}")
    }
}

/// The runs of a drain, in order. Printed, they are a timeline that a test can compare as a whole:
///
/// ```text
/// 0s  send_welcome  attempt 1  retry in 5s: the mail server is down
/// 5s  send_welcome  attempt 2  succeeded
/// ```
#[derive(Debug, Clone)]
pub struct Runs {
    runs: Vec<Run>,
    start: Timestamp,
    /// The jobs that were due and did not run, and why.
    left: Vec<String>,
}

impl Runs {
    pub(super) fn new(start: Timestamp, runs: Vec<Run>, left: Vec<String>) -> Self {
        Self { runs, start, left }
    }

    /// Only the runs of this job: `runs.of::<send_welcome>()`.
    pub fn of<T: JobItem>(&self) -> Vec<&Run> {
        let known: Vec<_> = T::descriptor().names().collect();
        let of = |run: &&Run| known.contains(&&*run.job.spec.name);
        self.runs.iter().filter(of).collect()
    }

    /// Asserts that every job that ran succeeded in the end, and that no due job was left. Returns
    /// itself.
    ///
    /// # Panics
    /// If that is not so. The message contains the timeline.
    #[track_caller]
    pub fn assert_succeeded(self) -> Self {
        let last_of = |run: &Run| {
            let same = |other: &&Run| other.job.id == run.job.id;
            self.runs.iter().rev().find(same).map(|r| r.job.state())
        };
        let ended = |run: &Run| last_of(run) == Some(JobState::Succeeded);
        assert!(
            self.left.is_empty() && self.runs.iter().all(ended),
            "not every job succeeded:\n{self}"
        );
        self
    }
}

impl Deref for Runs {
    type Target = [Run];

    fn deref(&self) -> &[Run] {
        &self.runs
    }
}

impl IntoIterator for Runs {
    type Item = Run;
    type IntoIter = std::vec::IntoIter<Run>;

    fn into_iter(self) -> Self::IntoIter {
        self.runs.into_iter()
    }
}

impl fmt::Display for Runs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |texts: Vec<usize>| texts.into_iter().max().unwrap_or(0);
        let times: Vec<_> = (self.runs.iter())
            .map(|run| span(run.at.since(self.start)))
            .collect();
        let least = if self.left.is_empty() {
            0
        } else {
            "left".len()
        };
        let time = width(times.iter().map(String::len).collect()).max(least);
        let name = width(self.runs.iter().map(|r| r.job.spec.name.len()).collect());
        for (at, run) in times.iter().zip(&self.runs) {
            let (job, attempt, ended) = (&run.job.spec.name, run.attempt, run.ended());
            writeln!(f, "{at:time$}  {job:name$}  attempt {attempt}  {ended}")?;
        }
        for left in &self.left {
            writeln!(f, "{:time$}  {left}", "left")?;
        }
        Ok(())
    }
}

/// `1day 2h`
pub(super) fn span(span: Duration) -> String {
    humantime::format_duration(span).to_string()
}
