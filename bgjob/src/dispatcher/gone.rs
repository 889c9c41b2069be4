//! What the lease thread does when the runtime that ran the jobs, and every other loop, is gone: it
//! records the remaining ends and gives jobs back.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, timeout_at};

use super::{
    core::Core,
    phases::ShutdownPhase,
    record::{finish, settle},
};
use crate::{Result, extract::HeldJob, job::limits};

/// How long the lease thread keeps trying: a runtime drops its tasks one after the other.
const LAST: Duration = Duration::from_secs(2);
/// The pause between two tries.
const TICK: Duration = Duration::from_millis(10);

/// Records the jobs that have ended. Gives back the jobs that surely don't run: those that waited
/// for a slot and those whose handler was dropped. Any other held job stays held until its lease
/// ends.
pub(super) async fn let_go(core: &Core, held: &[Arc<HeldJob>]) {
    core.enter(ShutdownPhase::Stopped);
    let begun = Instant::now();
    for hand in core.hands.iter() {
        core.give_back(hand.close());
    }
    while core.grants.held() > 0 && begun.elapsed() < LAST {
        let dropped = held.iter().filter(|held| is_dropped(core, held));
        core.give_back(dropped.map(Arc::clone).collect());
        // A connection that died with the runtime fails here; the next one may work.
        let _ = timeout_at(begun + LAST, record(core)).await;
        sleep(TICK).await;
    }
    core.events.emit(core.drained().event());
}

/// Whether the job surely does not run: its handler was dropped. Blocking code runs on after that.
fn is_dropped(core: &Core, held: &HeldJob) -> bool {
    let job = core.served.descriptor(held);
    held.is_let_go() && !held.is_settled() && job.is_none_or(|job| !job.is_blocking())
}

async fn record(core: &Core) -> Result<()> {
    loop {
        let ends = core.ends.take(limits::BATCH);
        if ends.is_empty() {
            return Ok(());
        }
        let endings = ends.endings();
        let answers = core.store.call(|store| finish(store, &endings)).await?;
        settle(core, ends, &answers).await;
    }
}
