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
/// `Serialize` gives everything, metadata and result included, except the holder's token: only its
/// head. `Debug` gives neither metadata nor result.
///
/// Document stores keep this form. A job with a field that this program does not know is unreadable
/// to it, because writing the job back would lose that field.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Job {
    /// Its unique id.
    pub id: JobId,
    /// What was asked for.
    pub spec: Arc<JobSpec>,
    /// Where it stands.
    pub phase: Phase,
    /// Changes with every write by an operator.
    pub ver: u64,
    /// Strictly greater with each grant. Handlers pass it on to other systems, so that these can
    /// refuse an older attempt.
    pub fence: u64,
    /// How many times an operator requeued it after it had ended.
    pub epoch: u32,
    /// Errors of this epoch.
    pub errors: u32,
    /// Crashes of this epoch.
    pub crashes: u32,
    /// When it was stored.
    pub created_at: Timestamp,
    /// When it became or becomes due.
    pub due_at: Timestamp,
    /// The job is Dead if it has not started by then. Cleared when its first attempt ends, however
    /// it ends: a released or snoozed job has started too.
    pub expires_at: Option<Timestamp>,
    /// The job gets no further attempt if it has not ended by then.
    pub deadline_at: Option<Timestamp>,
    /// What the handler last reported.
    pub progress: Option<Progress>,
    /// Failed and crashed attempts, oldest first, at most
    /// [`limits::HISTORY`](super::limits::HISTORY).
    pub history: Vec<Attempt>,
}

impl Job {
    /// A waiting job without a past, for a store that builds jobs from its rows: the store sets the
    /// other fields. A new job comes from [`transition::create`](super::transition::create).
    pub const fn new(
        id: JobId,
        spec: Arc<JobSpec>,
        created_at: Timestamp,
        due_at: Timestamp,
    ) -> Self {
        Self {
            id,
            spec,
            phase: Phase::Ready { touch_at: due_at },
            ver: 0,
            fence: 0,
            epoch: 0,
            errors: 0,
            crashes: 0,
            created_at,
            due_at,
            expires_at: None,
            deadline_at: None,
            progress: None,
            history: Vec::new(),
        }
    }

    /// Its size in bytes, as counted against the limit of a batch.
    #[doc(hidden)]
    pub fn bytes(&self) -> usize {
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

    /// The most recent error in its history, if there is one.
    pub fn last_error(&self) -> Option<&Failure> {
        self.history
            .iter()
            .rev()
            .find_map(|attempt| match &attempt.end {
                AttemptEnd::Failed(failure) => Some(failure),
                AttemptEnd::Crashed { .. } => None,
            })
    }

    /// Whether a dispatcher holds it or has held it before.
    pub const fn has_started(&self) -> bool {
        self.fence > 0
    }

    /// Whether it is on its last chance: a process died while holding it, perhaps because of it,
    /// and one more such crash makes it Dead. So it is claimed only into a free slot, and a process
    /// holds one suspect at a time.
    pub fn is_suspect(&self) -> bool {
        is_last_chance(self.crashes, &self.spec)
    }
}

/// Whether it has crashed at least once and the next crash makes it Dead.
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
    /// Other names of its function. A stored job that has this id and one of these names is the
    /// same job.
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

    /// Whether a job of this name belongs to the same function.
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
    /// The time it stands for when the current time is `now`.
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
    /// How long a job is held without a renewal before the sweeper may revoke it.
    pub lease: Duration,
    /// Set on a call that repeats one whose answer was lost: jobs that this token already holds are
    /// returned again, before any others are claimed.
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

    /// Whether a job of this name and metadata version can be run.
    pub fn can_run(&self, name: &str, version: u32) -> bool {
        self.jobs
            .get(name)
            .is_some_and(|highest| version <= *highest)
    }
}

/// A job as a claim returns it: what is needed to run it, without its history.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ClaimedJob {
    /// Its unique id.
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
    /// A job that was claimed for the first time, for a store that builds claimed jobs from its
    /// rows: the store sets the other fields.
    pub const fn new(id: JobId, spec: Arc<JobSpec>, token: Token, claimed_at: Timestamp) -> Self {
        Self {
            id,
            spec,
            token,
            fence: 1,
            epoch: 0,
            errors: 0,
            crashes: 0,
            created_at: claimed_at,
            due_at: claimed_at,
            deadline_at: None,
            claimed_at,
        }
    }

    /// See [`Job::is_suspect`].
    pub fn is_suspect(&self) -> bool {
        is_last_chance(self.crashes, &self.spec)
    }

    /// Whether a process died while holding it. Such a job is not prefetched: while it waited for a
    /// slot, another crash of the process would count against it too.
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

    /// Adds a short note.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = Some(note.into());
        self.bounded()
    }

    /// The same progress within the limits of what is stored: the note is cut to
    /// [`limits::NOTE`](super::limits::NOTE) bytes, with `�` in place of control characters other
    /// than line feeds. Every report goes through this before it is stored.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        let mut left = super::limits::NOTE;
        self.note = self.note.map(|note| clean(note, &mut left));
        self
    }
}
