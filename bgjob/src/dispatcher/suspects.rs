//! [`Suspects`]: when a claim asks for a suspect, a job that one more crash would end. One suspect
//! at a time runs here, so that a crash is blamed on the right job.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::time::Instant;

use super::{grants::Grants, hands::Hands};
use crate::lock::Locked;

/// While no slot is free, a suspect is asked for at most this often.
const APART: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct Suspects {
    /// A claim that asks for a suspect is unanswered. Set and cleared by [`SuspectTurn`].
    asked: AtomicBool,
    /// When a suspect was last asked for although no slot was free. Set and read by
    /// `ahead_of_line`.
    last: Mutex<Option<Instant>>,
}

impl Suspects {
    /// The turn to ask for a suspect, if one is wanted: into a free slot, while no other suspect is
    /// held. If slots are never free for long because jobs are short, one suspect a second is taken
    /// ahead of the line.
    pub(super) fn turn(self: &Arc<Self>, grants: &Grants, hands: &Hands) -> Option<SuspectTurn> {
        // First the turn: afterwards no other loop takes in a suspect.
        let turn = SuspectTurn::take(self)?;
        let wanted = grants.suspects() == 0 && (hands.have_room() || self.ahead_of_line(hands));
        wanted.then_some(turn)
    }

    fn ahead_of_line(&self, hands: &Hands) -> bool {
        let mut last = self.last.locked();
        let due = last.is_none_or(|at| at.elapsed() >= APART);
        let wanted = due && hands.iter().any(|hand| hand.is_quick());
        if wanted {
            *last = Some(Instant::now());
        }
        wanted
    }
}

/// The turn to ask for a suspect. Two loops claim, and one of them has the turn at a time: it keeps
/// the turn until it has taken in the answer.
pub(super) struct SuspectTurn(Arc<Suspects>);

impl SuspectTurn {
    fn take(suspects: &Arc<Suspects>) -> Option<Self> {
        let free = !suspects.asked.swap(true, SeqCst);
        free.then(|| Self(Arc::clone(suspects)))
    }
}

impl Drop for SuspectTurn {
    fn drop(&mut self) {
        self.0.asked.store(false, SeqCst);
    }
}
