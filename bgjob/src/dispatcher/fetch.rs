//! The fetch loop: records ends and claims ready jobs, in batches, in one call if possible.
//!
//! ```text
//!          ┌───────────────────────────────────────────────────────────────┐
//!          ▼                                                               │
//!   what is there to do? ── nothing ──► idle: until an end, room, new work,│
//!          │                            a due time or a new phase ─────────┤
//!          │ ends to record,                                               │
//!          │ jobs wanted, or a claim in doubt                              │
//!          ▼                                                               │
//!   one call to the store ── answered ─────────────────────────────────────┤
//!          │                                                               │
//!          └── failed ──► pause, longer with each failure ─────────────────┘
//! ```
//!
//! [`WorkSearch`] is *when to look*: what is wanted now, and how long to idle. [`Exchange`] is *one
//! call and its doubts*. Jobs that end during a call are recorded by the next one: batches are full
//! under load, and nothing waits when idle. Many ends get [a call of their own](super::record) if
//! the store prefers that.

use std::{mem, sync::Arc};

use tokio::time::sleep;

use super::{
    core::Core, ends::EndBatch, exchange::Exchange, phases::ShutdownPhase, search::WorkSearch,
};
use crate::job::limits;

/// Runs until the dispatcher has stopped.
pub(super) async fn run(core: Arc<Core>) {
    let mut search = WorkSearch::new(Arc::clone(&core));
    let mut exchange = Exchange::new(Arc::clone(&core));
    loop {
        core.beats.beat(&core.beats.fetch);
        let open = core.claims.begin();
        let phase = core.phases.now();
        if phase == ShutdownPhase::Stopped {
            if exchange.recording.is_open() {
                exchange.recording.over().await;
            }
            return;
        }
        let mut ends = ends(&core, &exchange);
        let want = if phase == ShutdownPhase::Running {
            search.want().await
        } else {
            Vec::new()
        };
        let claims = exchange.begin(open, &want);
        if claims && exchange.recording.is_worth(&ends) {
            let many = mem::replace(&mut ends, core.ends.none());
            exchange.recording.begin(many);
        }
        if ends.is_empty() && !claims {
            search.idle(&mut exchange.recording).await;
        } else if let Err(error) = exchange.call(&mut search, ends, want).await {
            let wait = core.store.failed(&error);
            exchange.recording.beside(sleep(wait)).await;
        } else {
            exchange.worked();
        }
    }
}

/// The ends to record now: none while a call beside records others.
fn ends(core: &Core, exchange: &Exchange) -> EndBatch {
    if exchange.recording.is_open() {
        return core.ends.none();
    }
    core.ends.take(limits::BATCH)
}
