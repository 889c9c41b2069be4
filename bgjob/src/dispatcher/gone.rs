//! The runtime that ran the jobs is gone, and every other loop with it: the lease thread has the
//! last word.

use std::{sync::Arc, sync::atomic::Ordering::Relaxed, time::Duration};

use tokio::time::{Instant, sleep, timeout_at};

use super::{
    core::{Core, Phase},
    record::{finish, settle},
};
use crate::{Result, events::Event, extract::Held, job::limits};

/// How long it has for that: a runtime drops its tasks one after the other.
const LAST: Duration = Duration::from_secs(2);
const TICK: Duration = Duration::from_millis(10);

/// Records what has ended and gives back what surely does not run any more: what waited, and where
/// the handler was dropped. Whatever else is held ends with its lease.
pub(super) async fn let_go(core: &Core, held: &[Arc<Held>]) {
    core.enter(Phase::Stopped);
    let begun = Instant::now();
    for hand in &core.hands {
        core.give_back(hand.close());
    }
    while core.grants.held() > 0 && begun.elapsed() < LAST {
        let dropped = held.iter().filter(|held| is_dropped(core, held));
        core.give_back(dropped.map(Arc::clone).collect());
        // A connection that the runtime took along fails, and the next one may not.
        let _ = timeout_at(begun + LAST, record(core)).await;
        sleep(TICK).await;
    }
    core.events.emit(Event::Stopped {
        drained: core.tally.drained.load(Relaxed),
        released: core.tally.released.load(Relaxed),
        unknown: core.grants.held(),
    });
}

/// Blocking code is not dropped with its handler.
fn is_dropped(core: &Core, held: &Held) -> bool {
    let job = core.registry.get(&held.job.spec.name);
    held.is_let_go() && !held.is_settled() && job.is_none_or(|job| !job.is_blocking())
}

async fn record(core: &Core) -> Result<()> {
    loop {
        let ends = core.ends.take(limits::BATCH);
        if ends.is_empty() {
            return Ok(());
        }
        let endings = ends.endings();
        let answers = core.store_call(|| finish(core, &endings)).await?;
        settle(core, ends, &answers).await;
    }
}
