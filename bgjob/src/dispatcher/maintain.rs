//! Upkeep: each dispatcher does the same, without a leader; compare-and-set arbitrates.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;

use super::{
    clocks::Clocks, core::Core, phases::ShutdownPhase, unreadable::tell_unreadable,
    unserved::Lookout, worker::Introduced,
};
use crate::{
    JobId, Result, entropy,
    events::{DeadJob, Event},
    job::{DeadReason, limits, transition::SweepPolicy},
    manager::push,
    store::{ClockSource, Swept, SweptJob},
};

/// The most batches of one step in one pass; the rest waits for the next pass.
const BATCHES: usize = 10;

/// Sweeps and purges until the dispatcher drains. The first pass begins at once.
pub(super) async fn run(core: Arc<Core>) {
    let can = core.store.provider().capabilities();
    let mut policy = SweepPolicy::default().touch(core.queue.as_ref().map(|_| SweepPolicy::TOUCH));
    if can.clock == ClockSource::Store {
        policy.margin = Duration::ZERO;
    }
    let (mut lookout, mut clocks) = (Lookout::new(), Clocks::default());
    let mut introduced = Introduced::default();
    while core.phases.now() == ShutdownPhase::Running {
        core.beats.beat(&core.beats.maintain);
        // A step that fails stops no other; only a store that fails at all steps counts as down.
        let pause = match (sweep(&core, &policy, &mut clocks).await, purge(&core).await) {
            (Err(error), Err(_)) => core.store.failed(&error),
            (swept, purged) => {
                // Perhaps no other loop calls the store now, and so none would report this.
                core.store.worked();
                tell_failed(&core, "sweep", swept);
                tell_failed(&core, "purge", purged);
                // Up to a quarter less, so that a hundred dispatchers don't sweep together.
                core.config.sweep.mul_f64(0.75 + entropy::unit() / 4.0)
            }
        };
        introduced.keep(&core).await;
        lookout.look(&core).await;
        tokio::select! {
            biased;
            () = core.phases.reached(ShutdownPhase::Draining) => {}
            () = sleep(pause) => {}
        }
    }
}

fn tell_failed(core: &Core, step: &'static str, done: Result<()>) {
    if let Err(error) = done {
        core.events.emit(Event::UpkeepFailed {
            step,
            error: &error,
        });
    }
}

async fn sweep(core: &Core, policy: &SweepPolicy, clocks: &mut Clocks) -> Result<()> {
    if !clocks.agree(core).await? {
        return Ok(());
    }
    for _ in 0..BATCHES {
        let swept = core
            .store
            .call(|store| store.sweep(limits::BATCH, policy))
            .await?;
        let full = swept.len() >= limits::BATCH;
        tell(core, swept).await;
        if !full {
            break;
        }
    }
    Ok(())
}

async fn purge(core: &Core) -> Result<()> {
    for _ in 0..BATCHES {
        let jobs = core.store.call(|store| store.purge(limits::BATCH)).await?;
        if jobs > 0 {
            core.events.emit(Event::Purged { jobs });
        }
        if jobs < limits::BATCH {
            break;
        }
    }
    Ok(())
}

async fn tell(core: &Core, swept: Vec<Swept>) {
    let mut hints = Vec::new();
    for one in swept {
        match one {
            Swept::Revoked { id, state, job } => {
                let (name, queue) = (&*job.name, &*job.queue);
                core.events.emit(Event::Revoked {
                    id,
                    name,
                    queue,
                    state,
                });
                tell_death(core, id, &job, false);
            }
            Swept::Expired { id, job } => {
                let (name, queue) = (&*job.name, &*job.queue);
                let reason = job.dead.unwrap_or(DeadReason::Expired);
                core.events.emit(Event::Expired {
                    id,
                    name,
                    queue,
                    reason,
                });
                tell_death(core, id, &job, true);
            }
            Swept::Touched(hint) => hints.push(hint),
            Swept::Unreadable { id } => tell_unreadable(core, &[id]).await,
        }
    }
    if let Some(queue) = &core.queue
        && !hints.is_empty()
    {
        core.events.emit(Event::Rehinted { hints: hints.len() });
        push(queue.provider(), &hints, &core.events).await;
    }
}

/// Reports the death if the job died in the sweep.
fn tell_death(core: &Core, id: JobId, job: &SweptJob, announced: bool) {
    if let Some(dead) = DeadJob::swept(id, job) {
        core.deaths.tell(&core.events, dead, announced);
    }
}

/// A bare timer on the runtime that runs the jobs; the lease thread checks that it ticks. If no
/// slot took a job from a hand for a whole tick, the jobs that wait there are given back, for
/// others to run.
pub(super) async fn pulse(core: Arc<Core>) {
    const TICK: Duration = Duration::from_secs(1);
    while core.phases.now() < ShutdownPhase::Stopped {
        core.beats.beat(&core.beats.pulse);
        for hand in core.hands.iter() {
            core.give_back(hand.hoard(TICK));
        }
        tokio::select! {
            biased;
            () = core.phases.reached(ShutdownPhase::Stopped) => {}
            () = sleep(TICK) => {}
        }
    }
}
