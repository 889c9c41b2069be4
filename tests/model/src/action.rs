//! What can happen, and what of it a healthy system does by itself.

use super::world::Outcome;

/// One step. Jobs and workers go by their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Create(u8),
    CreateLost(u8),
    ClientDies(u8),
    Push(u8),
    Deliver(u8, u8),
    LoseHint(u8),
    DoubleHint(u8),
    /// Claims a job by id: after a hint, or once more after a lost answer.
    Claim(u8, u8),
    ClaimLost(u8, u8),
    /// Claims what is ready, with no hint.
    Scan(u8, u8),
    /// Claims both jobs with one token.
    ScanAll(u8),
    ScanAllLost(u8),
    Renew(u8, u8),
    Ends(u8, u8, Outcome),
    Finish(u8, u8),
    FinishLost(u8, u8),
    Crash(u8),
    Restart(u8),
    DuePasses(u8),
    TouchPasses(u8),
    ExpiresPasses(u8),
    DeadlinePasses(u8),
    /// The lease runs out, or the time to purge has come.
    UntilPasses(u8),
    Revoke(u8),
    RevokeReads(u8),
    RevokeWrites,
    Touch(u8),
    Expire(u8),
    Purge(u8),
    ForgetId(u8),
    Cancel(u8),
    Requeue(u8),
    Reschedule(u8, bool),
    Edit(u8),
    Delete(u8),
    CopyMessage(u8, u8),
    LateMessage,
    Backup,
    Rollback,
}

/// Who has to be there for an action to happen by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fair {
    /// Nobody: it is a fault or a wish.
    Never,
    Always,
    /// A queue.
    Queue,
    /// A store that finds ready work by itself.
    Scan,
}

impl Action {
    pub fn fair(self) -> Fair {
        match self {
            Self::Push(_) | Self::Deliver(..) | Self::Touch(_) => Fair::Queue,
            Self::Scan(..) | Self::ScanAll(_) => Fair::Scan,
            Self::Create(_)
            | Self::Claim(..)
            | Self::Ends(_, _, Outcome::Success)
            | Self::Finish(..)
            | Self::Restart(_)
            | Self::DuePasses(_)
            | Self::TouchPasses(_)
            | Self::UntilPasses(_)
            | Self::Revoke(_)
            | Self::RevokeReads(_)
            | Self::RevokeWrites
            | Self::Expire(_) => Fair::Always,
            _ => Fair::Never,
        }
    }
}
