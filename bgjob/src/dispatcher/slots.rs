//! Slots: long-lived tasks, each of which runs one job after the other.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use tokio::time::Instant;

use super::{core::Core, execute, hand::Hand};

/// Runs jobs of one queue until the hand closes.
pub(super) async fn slot(core: Arc<Core>, hand: Arc<Hand>) {
    while let Some((held, low)) = hand.next().await {
        if low {
            core.wake.notify_one();
            core.room.notify_one();
        }
        let started = Instant::now();
        let end = execute::run(&core, &held).await;
        hand.done(started.elapsed());
        if !held.decide() {
            // The lease thread has ended it as stuck; the slot is free again only now.
            core.tally.stuck.fetch_sub(1, Relaxed);
        } else if let Some(end) = end {
            core.end(held, end);
        } else {
            core.grants.release(&held);
        }
        if hand.has_room() {
            core.room.notify_one();
        }
        // Jobs that end at once would never let another task of this thread run.
        tokio::task::consume_budget().await;
    }
}
