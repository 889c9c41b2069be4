//! [`Job`], and what goes into and comes out of its transitions.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    Attempt, AttemptEnd, DeadReason, Ended, Failure, How, JobId, JobSpec, Json, Owner, Phase,
    State, Token, end::clean,
};
use crate::Timestamp;

/// A job as a store keeps it.
///
/// `Serialize` gives all of it, metadata and result included, but for the token of who holds it: of
/// that the head. `Debug` gives neither metadata nor result.
///
/// Stores of documents keep this form. So a field that this program does not know makes a job
/// unreadable to it: what it writes back would lose the field.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Job {
    /// Its name among all jobs.
    pub id: JobId,
    /// What was asked for.
    pub spec: Arc<JobSpec>,
    /// Where it stands.
    pub phase: Phase,
    /// Changes with every operator's write.
    pub ver: u64,
    /// Strictly greater with each grant; for handlers to hand to other systems.
    pub fence: u64,
    /// How often an operator requeued it from its end.
    pub epoch: u32,
    /// Errors of this epoch.
    pub errors: u32,
    /// Crashes of this epoch.
    pub crashes: u32,
    /// When it was stored.
    pub created_at: Timestamp,
    /// When it became or becomes due.
    pub due_at: Timestamp,
    /// If it has not started by then it is Dead. Gone once it has: a released or snoozed job
    /// has started too.
    pub expires_at: Option<Timestamp>,
    /// If it has not ended by then it gets no further attempt.
    pub deadline_at: Option<Timestamp>,
    /// What the handler last reported.
    pub progress: Option<Progress>,
    /// Failed and crashed attempts, oldest first, at most
    /// [`limits::HISTORY`](super::limits::HISTORY).
    pub history: Vec<Attempt>,
}

impl Job {
    /// How many bytes it brings along: what batches are bounded by.
    pub(crate) fn bytes(&self) -> usize {
        let failures = self.history.iter().map(|attempt| attempt.end.bytes());
        let result = self.result().map_or(0, Json::len);
        self.spec.bytes() + result + failures.sum::<usize>()
    }

    /// Where it stands, in one word.
    pub const fn state(&self) -> State {
        self.phase.state()
    }

    /// What it returned, if it succeeded.
    pub const fn result(&self) -> Option<&Json> {
        match &self.phase {
            Phase::Ended(Ended {
                how: How::Succeeded(result),
                ..
            }) => Some(result),
            _ => None,
        }
    }

    /// Why it is dead, if it is.
    pub const fn dead_reason(&self) -> Option<DeadReason> {
        match &self.phase {
            Phase::Ended(Ended {
                how: How::Dead(reason),
                ..
            }) => Some(*reason),
            _ => None,
        }
    }

    /// The last error of its attempts that is kept, if there is one.
    pub fn last_error(&self) -> Option<&Failure> {
        self.history
            .iter()
            .rev()
            .find_map(|attempt| match &attempt.end {
                AttemptEnd::Failed(failure) => Some(failure),
                AttemptEnd::Crashed { .. } => None,
            })
    }

    /// Whether a dispatcher has held it before (or does now).
    pub const fn has_started(&self) -> bool {
        self.fence > 0
    }

    /// It is on its last chance: a process died with it in hand, perhaps of it, and the next such
    /// death is its own. So it is claimed only into a free slot, one at a time in a process.
    pub fn is_suspect(&self) -> bool {
        is_last_chance(self.crashes, &self.spec)
    }
}

/// Whether the next crash is the last one, after one at least.
fn is_last_chance(crashes: u32, spec: &JobSpec) -> bool {
    crashes > 0 && crashes.saturating_add(1) >= spec.max_crashes
}

/// A job to be stored.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct NewJob {
    /// Made by the client, so that a repeated create can't make two jobs.
    pub id: JobId,
    /// What is asked for.
    pub spec: Arc<JobSpec>,
    /// When it is due.
    pub due: Due,
    /// Other names that its function goes by: a job of one of them under this id is the same job.
    pub aliases: &'static [&'static str],
}

impl NewJob {
    /// A job of no other name than its own.
    ///
    /// ```
    /// use bgjob::{Due, JobId, JobSpec, Json, job::NewJob};
    ///
    /// let job = NewJob::new(JobId::new(), JobSpec::new("mail", Json::null()), Due::Now);
    /// ```
    pub fn new(id: JobId, spec: impl Into<Arc<JobSpec>>, due: Due) -> Self {
        Self {
            id,
            spec: spec.into(),
            due,
            aliases: &[],
        }
    }

    /// With these other names of its function.
    #[must_use]
    pub const fn aliases(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }

    /// Whether a job of this name is one of the same function.
    pub fn is_named(&self, name: &str) -> bool {
        *self.spec.name == *name || self.aliases.contains(&name)
    }
}

/// When a job is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Due {
    /// At once.
    #[default]
    Now,
    /// This long after it is stored, by the store's clock.
    After(Duration),
    /// At this time.
    At(Timestamp),
}

impl Due {
    /// The time it means, if it is `now`.
    pub fn from(self, now: Timestamp) -> Timestamp {
        match self {
            Self::Now => now,
            Self::After(delay) => now + delay,
            Self::At(time) => time,
        }
    }
}

/// One claim call: who claims, with which token, for how long.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Grant {
    /// The token of each job the call claims.
    pub token: Token,
    /// The process start that claims.
    pub owner: Owner,
    /// How long before the sweeper may revoke what is not renewed.
    pub lease: Duration,
    /// Set on a call that repeats one whose answer was lost: jobs this token holds already are
    /// answered again, before any other is claimed.
    pub repeat: bool,
}

impl Grant {
    /// A first claim with this token.
    pub const fn new(token: Token, owner: Owner, lease: Duration) -> Self {
        Self {
            token,
            owner,
            lease,
            repeat: false,
        }
    }

    /// Whether it repeats a call whose answer was lost.
    #[must_use]
    pub const fn repeat(mut self, repeat: bool) -> Self {
        self.repeat = repeat;
        self
    }
}

/// What a dispatcher can run: nothing else is claimed for it.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Serves {
    /// Names, aliases included, each with the highest metadata version it reads.
    pub jobs: Arc<BTreeMap<Arc<str>, u32>>,
    /// Whether one [suspect](Job::is_suspect) is wanted. A call never claims more than one of them.
    pub suspect: bool,
}

impl Serves {
    /// These jobs, and no suspect.
    pub const fn new(jobs: Arc<BTreeMap<Arc<str>, u32>>) -> Self {
        Self {
            jobs,
            suspect: false,
        }
    }

    /// Whether one suspect is wanted.
    #[must_use]
    pub const fn suspect(mut self, suspect: bool) -> Self {
        self.suspect = suspect;
        self
    }

    /// Whether it can run a job of this name and version.
    pub fn can_run(&self, name: &str, version: u32) -> bool {
        self.jobs
            .get(name)
            .is_some_and(|highest| version <= *highest)
    }
}

/// A job as a claim gives it out: what running it needs, without history.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ClaimedJob {
    /// Its name among all jobs.
    pub id: JobId,
    /// What was asked for.
    pub spec: Arc<JobSpec>,
    /// The token it is held by.
    pub token: Token,
    /// See [`Job::fence`].
    pub fence: u64,
    /// See [`Job::epoch`].
    pub epoch: u32,
    /// See [`Job::errors`].
    pub errors: u32,
    /// See [`Job::crashes`].
    pub crashes: u32,
    /// See [`Job::created_at`].
    pub created_at: Timestamp,
    /// See [`Job::due_at`].
    pub due_at: Timestamp,
    /// See [`Job::deadline_at`].
    pub deadline_at: Option<Timestamp>,
    /// When it was claimed, by the store's clock.
    pub claimed_at: Timestamp,
}

impl ClaimedJob {
    /// See [`Job::is_suspect`].
    pub fn is_suspect(&self) -> bool {
        is_last_chance(self.crashes, &self.spec)
    }

    /// A process died with it in hand. It is not made to wait in another's for a slot, where the
    /// next death would count against it too.
    pub const fn has_crashed(&self) -> bool {
        self.crashes > 0
    }
}

/// How far a running job is.
///
/// ```
/// use bgjob::Progress;
///
/// let half = Progress::of(50, 100).note("resizing");
/// assert_eq!(half.total, Some(100));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Progress {
    /// Steps done.
    pub done: u64,
    /// Steps in all, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// A few words, cut at [`limits::NOTE`](super::limits::NOTE) bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl Progress {
    /// `done` steps of `total`.
    pub const fn of(done: u64, total: u64) -> Self {
        Self {
            done,
            total: Some(total),
            note: None,
        }
    }

    /// With a few words.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = Some(note.into());
        self.bounded()
    }

    /// The same within the limits of what is stored: the note is cut to
    /// [`limits::NOTE`](super::limits::NOTE) bytes, and control characters in it but line feeds are
    /// replaced by `�`. What is stored goes through this, however it was made.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        let mut left = super::limits::NOTE;
        self.note = self.note.map(|note| clean(note, &mut left));
        self
    }
}
