//! Slots: long-lived tasks that each run one job after the other.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use tokio::time::Instant;

use super::{
    core::Core,
    execute::{self, Over},
    hand::Hand,
    lease::ask,
};
use crate::{CancelReason, extract::HeldJob, job::End};

/// Runs jobs of one queue until the hand closes.
pub(super) async fn slot(core: Arc<Core>, hand: Arc<Hand>) {
    while let Some((held, low)) = hand.next().await {
        if low {
            core.bells.ring_both();
        }
        let started = Instant::now();
        let over = match may_start(&core, &held, started) {
            Ok(()) => {
                let _taken = Taken(&held);
                let over = execute::run(&core, &held).await;
                hand.done(started.elapsed());
                over
            }
            Err(end) => {
                hand.left();
                unstarted(&held, end)
            }
        };
        match over {
            Over::Recorded(end, answer) => {
                core.recorded(&held, &end, answer, false);
                core.bells.ring_fetch();
            }
            Over::Decided(end) => core.end(held, end),
            // The slot is free again only now.
            Over::Stuck => {
                core.tally.stuck.fetch_sub(1, Relaxed);
                core.bells.ring_fetch();
            }
            Over::Abandoned => {
                core.release(&held);
                core.bells.ring_fetch();
            }
        }
        if hand.has_room() {
            core.bells.ring_receive();
        }
        // Otherwise jobs that end at once would never let another task of this thread run.
        tokio::task::consume_budget().await;
    }
}

/// The end of a job that is not started.
fn unstarted(held: &HeldJob, end: Option<End>) -> Over {
    match (held.decide(), end) {
        (false, _) => Over::Stuck,
        (true, Some(end)) => Over::Decided(end),
        (true, None) => Over::Abandoned,
    }
}

/// A job in a slot. Dropped after its handler, even if the whole slot is dropped.
struct Taken<'a>(&'a HeldJob);

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.0.let_go();
    }
}

/// Whether to start a job that waited in the hand. Not if the job was cancelled meanwhile, and not
/// if its lease may have ended: another worker may have run the job to its end by now. The error is
/// the end to record; `None`: record nothing.
fn may_start(core: &Core, held: &HeldJob, now: Instant) -> Result<(), Option<End>> {
    if now.duration_since(held.good()) >= core.config.fence_at() {
        ask(core, held, CancelReason::LeaseLost);
    }
    match held.reason() {
        None => Ok(()),
        Some(CancelReason::LeaseLost) => Err(None),
        Some(_) => Err(Some(End::Release)),
    }
}
