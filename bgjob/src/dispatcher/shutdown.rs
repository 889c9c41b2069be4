//! The shutdown: drain → cancel → release → stop. [`signals`](super::signals) has the signals that
//! ask for it.

use std::{future::Future, sync::Arc, time::Duration};

use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use super::{core::Core, handle::ShutdownReport, phases::ShutdownPhase};
use crate::{events::Event, task};

/// The promise: the shutdown takes at most this much longer than the drain.
const BEYOND: Duration = Duration::from_secs(5);
/// How long recording the ends may take once all jobs have ended. The promise determines the time,
/// within these bounds; the upper bound limits how long a silent store can delay the shutdown.
const FLUSH: std::ops::Range<Duration> = Duration::from_secs(1)..Duration::from_secs(4);
/// How long dropped handlers may take to end, and then the loops.
const DROP: Duration = Duration::from_secs(1);

/// Waits until a shutdown is asked for and leads the dispatcher through it, step by step. The lease
/// loop stops last, because jobs that are not recorded yet are still held.
pub(super) async fn lead(
    core: Arc<Core>,
    mut slots: JoinSet<()>,
    loops: JoinSet<()>,
) -> ShutdownReport {
    core.phases.reached(ShutdownPhase::Draining).await;
    let promised = Instant::now() + core.config.drain + BEYOND - DROP;
    core.events.emit(Event::Draining {
        running: core.hands.busy(),
    });
    // Jobs that were not started go back first, at no cost to them.
    for hand in core.hands.iter() {
        core.give_back(hand.close());
    }
    let steps = [
        (core.config.drain, ShutdownPhase::Cancelling),
        (core.config.cancel, ShutdownPhase::Releasing),
        (DROP, ShutdownPhase::Stopped),
    ];
    for (span, next) in steps {
        let all = async { while slots.join_next().await.is_some() {} };
        let done = tokio::select! {
            biased;
            () = all => true,
            () = core.phases.reached(next) => false,
            () = sleep(span) => false,
        };
        if done || next == ShutdownPhase::Stopped {
            break;
        }
        core.enter(next);
    }
    let left = promised.saturating_duration_since(Instant::now());
    flush(&core, left.clamp(FLUSH.start, FLUSH.end)).await;
    let drained = core.drained();
    core.enter(ShutdownPhase::Stopped);
    // A loop that waits for an answer that never comes ends later, when its call times out.
    let _ = timeout(DROP, loops.join_all()).await;
    core.events.emit(drained.event());
    drained
}

/// Waits until all claims are answered and all ends recorded, but no longer than `most`.
async fn flush(core: &Core, most: Duration) {
    let begun = Instant::now();
    let open = || core.claims.are_open() || core.grants.held() > 0;
    while open() && begun.elapsed() < most {
        core.bells.ring_fetch();
        sleep(Duration::from_millis(2)).await;
    }
}

/// Runs a loop. If it panics, which is a bug, emits an event and starts it again.
pub(super) async fn keep<F>(core: Arc<Core>, name: &'static str, run: impl Fn(Arc<Core>) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    while let Err(error) = task::spawn(run(Arc::clone(&core))).await {
        if !error.is_panic() || core.phases.now() == ShutdownPhase::Stopped {
            return;
        }
        core.events.emit(Event::LoopFailed { name });
        sleep(Duration::from_secs(1)).await;
    }
}
