//! Deliberate mistakes, each of which the model has to catch: else it proves nothing.

use bgjob_core::{
    Job,
    job::{Hold, Phase, Token},
};

use super::projection::{self, NOW};

/// A mistake that an implementation could make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mutant {
    /// None: the protocol as it is.
    #[default]
    None,
    /// A finish looks at nothing.
    BlindFinish,
    /// A finish looks at the state, not at the token.
    FinishByState,
    /// A claim takes what is over.
    ClaimsTerminal,
    /// Nobody sweeps, and nobody scans.
    NoSweeper,
    /// The sweeper revokes what it read, without looking again.
    BlindRevoke,
    /// A counter is the token, and the store may lose its last commits.
    CounterToken,
    /// A crash is not counted.
    FreeCrashes,
    /// What runs can't be found by time.
    ClaimLeavesIndex,
    /// A claim does not look at the time.
    ClaimsEarly,
    /// A create does not look at what is there.
    CreateOverwrites,
    /// A job deleted at its end leaves no id behind.
    ForgetsIds,
    /// A requeue does not look at the unique key.
    RequeueIgnoresKey,
}

pub fn before_claim(mutant: Mutant, job: &mut Job) {
    match (mutant, &job.phase) {
        (Mutant::ClaimsTerminal, Phase::Ended(_)) => {
            job.due_at = NOW;
            job.phase = Phase::Ready { touch_at: NOW };
        }
        (Mutant::ClaimsEarly, _) => job.due_at = NOW,
        _ => {}
    }
}

pub fn before_finish(mutant: Mutant, job: &mut Job, token: Token) {
    match (mutant, &mut job.phase) {
        (Mutant::BlindFinish, phase) => {
            *phase = Phase::Running(Hold {
                token,
                owner: projection::owner(),
                since: NOW,
                lease_until: NOW,
                cancel: false,
            })
        }
        (Mutant::FinishByState, Phase::Running(hold)) => hold.token = token,
        _ => {}
    }
}

pub fn after_revoke(mutant: Mutant, job: &mut Job, crashes: u32) {
    if mutant == Mutant::FreeCrashes && job.crashes > crashes {
        job.crashes = crashes;
        job.phase = Phase::Ready { touch_at: NOW };
    }
}
