//! Between real jobs and their projections.

use std::{sync::Arc, time::Duration};

use bgjob_core::{
    Job, JobId, JobSpec, JobState, Json, Owner, Timestamp,
    job::{DeadReason, Ended, Hold, How, Phase, Token},
};

use super::world::{Doc, Place, Time};

/// The moment at which every transition happens.
pub const NOW: Timestamp = Timestamp::from_millis(1_000_000_000_000);
const HOUR: Duration = Duration::from_secs(3600);

pub fn id(job: usize) -> JobId {
    JobId::from_bytes([job as u8 + 1; 16])
}

pub fn token(label: u8) -> Token {
    Token::from_bytes([label; 16])
}

pub fn owner() -> Owner {
    Owner::from_bytes([0; 16])
}

/// What an edit replaces the metadata by.
pub fn edited() -> Json {
    Json::trusted("1")
}

fn at(time: Time) -> Timestamp {
    match time {
        Time::Passed => Timestamp::from_millis(NOW.as_millis() - 3_600_000),
        Time::None | Time::Ahead => NOW + HOUR,
    }
}

fn limit(time: Time) -> Option<Timestamp> {
    (time != Time::None).then(|| at(time))
}

fn seen(time: Timestamp) -> Time {
    if time <= NOW {
        Time::Passed
    } else {
        Time::Ahead
    }
}

impl Doc {
    /// The job this stands for, held by `holder` if it runs; `None` if there is none.
    pub fn job(&self, job: usize, specs: &[Arc<JobSpec>; 2], holder: Token) -> Option<Job> {
        let over = |how| {
            Phase::Ended(Ended {
                how,
                at: at(Time::Passed),
                purge_at: at(self.until),
            })
        };
        let phase = match self.place {
            Place::Absent | Place::Remembered | Place::Gone => return None,
            Place::Ready => Phase::Ready {
                touch_at: at(self.touch),
            },
            Place::Running => Phase::Running(Hold {
                token: holder,
                owner: owner(),
                since: at(Time::Passed),
                lease_until: at(self.until),
                cancel: self.cancel,
            }),
            Place::Succeeded => over(How::Succeeded(Json::null())),
            Place::Dead => over(How::Dead(DeadReason::Errors)),
            Place::Cancelled => over(How::Cancelled),
        };
        let spec = Arc::clone(&specs[usize::from(self.edited)]);
        let mut stored = Job::new(id(job), spec, at(Time::Passed), at(self.due));
        stored.phase = phase;
        stored.ver = self.edited.into();
        stored.fence = self.fence.into();
        stored.errors = self.errors.into();
        stored.crashes = self.crashes.into();
        stored.expires_at = limit(self.expires);
        stored.deadline_at = limit(self.deadline);
        Some(stored)
    }

    /// The projection of a job that `nonce` holds if it runs. What no transition can look at in
    /// the job's state is left out, so that fewer states differ.
    pub fn of(job: &Job, nonce: u8, keep_fence: bool) -> Self {
        let small = |n: u32| u8::try_from(n).expect("budgets are small");
        let mut doc = Self {
            edited: job.spec.metadata == edited(),
            indexed: true,
            fence: if keep_fence { job.fence as u8 } else { 0 },
            ..Self::default()
        };
        if !job.state().is_terminal() {
            doc.due = seen(job.due_at);
            doc.expires = job.expires_at.map_or(Time::None, seen);
            doc.deadline = job.deadline_at.map_or(Time::None, seen);
            doc.errors = small(job.errors);
            doc.crashes = small(job.crashes);
        }
        match &job.phase {
            Phase::Ready { touch_at } => doc.touch = seen(*touch_at),
            Phase::Running(hold) => {
                doc.nonce = nonce;
                doc.until = seen(hold.lease_until);
                doc.cancel = hold.cancel;
            }
            Phase::Ended(end) => doc.until = seen(end.purge_at),
        }
        doc.place = match job.state() {
            JobState::Ready => Place::Ready,
            JobState::Running => Place::Running,
            JobState::Succeeded => Place::Succeeded,
            JobState::Dead => Place::Dead,
            JobState::Cancelled => Place::Cancelled,
        };
        doc
    }
}
