//! Detects handlers that wait in vain: for a job that needs their own slot, or for the end of the
//! dispatcher that runs them.

use std::{sync::Arc, time::Duration};

use tokio::time::timeout;

use super::core::Core;
use crate::{
    Job, JobState,
    events::Event,
    extract::{HeldJob, current},
};

/// How often a running handler is checked.
pub(super) const LOOK: Duration = Duration::from_secs(10);
/// The longest a check may take; the handler is not polled meanwhile.
const PATIENCE: Duration = Duration::from_secs(1);

/// Emits an event, once per attempt, if a handler waits for a job of its own queue that finds no
/// free slot.
pub(super) async fn look(core: &Core, held: &HeldJob) {
    let Some(on) = held.waits_for() else {
        return;
    };
    if held.blocked_on.get().is_some() {
        return;
    }
    let ids = [on];
    let asked = core.store.call(|store| store.get(&ids));
    let Ok(Ok(found)) = timeout(PATIENCE, asked).await else {
        return;
    };
    let waits = found
        .into_iter()
        .flatten()
        .any(|job| lacks_a_slot(core, held, &job));
    if waits && held.blocked_on.set(on).is_ok() {
        core.events.emit(Event::WaitsForSlot { job: &held.job, on });
    }
}

fn lacks_a_slot(core: &Core, held: &HeldJob, job: &Job) -> bool {
    let queue = &held.job.spec.queue;
    let now = held.job.claimed_at + held.claimed.elapsed();
    let full = core.hands.of(queue).is_some_and(|hand| hand.free() == 0);
    full && job.spec.queue == *queue && job.state() == JobState::Ready && job.due_at <= now
}

/// Whether the caller is a handler that this dispatcher runs, and so would wait for itself. If
/// it is, emits an event.
pub(super) fn is_asked_by_its_own(core: &Core) -> bool {
    let own = |job: &Arc<HeldJob>| Arc::ptr_eq(&job.services, &core.served.services);
    let job = current::job().filter(own);
    if let Some(job) = &job {
        core.events.emit(Event::WaitsForItself { job: &job.job });
    }
    job.is_some()
}
