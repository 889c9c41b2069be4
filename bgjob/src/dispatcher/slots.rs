//! Slots: long-lived tasks, each of which runs one job after the other.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use tokio::time::Instant;

use super::{core::Core, execute, hand::Hand, lease::ask};
use crate::{CancelReason, extract::Held, job::End};

/// Runs jobs of one queue until the hand closes.
pub(super) async fn slot(core: Arc<Core>, hand: Arc<Hand>) {
    while let Some((held, low)) = hand.next().await {
        if low {
            core.wake.notify_one();
            core.room.notify_one();
        }
        let started = Instant::now();
        let end = match may_start(&core, &held, started) {
            Ok(()) => {
                let end = execute::run(&core, &held).await;
                hand.done(started.elapsed());
                end
            }
            Err(end) => {
                hand.left();
                end
            }
        };
        if !held.decide() {
            // The lease thread has ended it as stuck; the slot is free again only now.
            core.tally.stuck.fetch_sub(1, Relaxed);
        } else if let Some(end) = end {
            core.end(held, end);
        } else {
            core.release(&held);
        }
        if hand.has_room() {
            core.room.notify_one();
        }
        // Jobs that end at once would never let another task of this thread run.
        tokio::task::consume_budget().await;
    }
}

/// Whether a job that waited in the hand is to be started. Not if it was cancelled meanwhile, and
/// not if its lease may have ended: somebody else may have run it to its end by now.
fn may_start(core: &Core, held: &Held, now: Instant) -> Result<(), Option<End>> {
    if now.duration_since(held.good()) >= core.config.fence_at() {
        ask(core, held, CancelReason::LeaseLost);
    }
    match held.reason() {
        None => Ok(()),
        Some(CancelReason::LeaseLost) => Err(None),
        Some(_) => Err(Some(End::Release)),
    }
}
