//! The shutdown: drain → cancel → release → stop. [`signals`](super::signals) has the signals that
//! ask for it.

use std::{future::Future, sync::Arc, sync::atomic::Ordering::Relaxed, time::Duration};

use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use super::{
    core::{Core, Phase},
    handle::ShutdownReport,
};
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
    core.reached(Phase::Draining).await;
    let promised = Instant::now() + core.config.drain + BEYOND - DROP;
    core.events.emit(Event::Draining {
        running: busy(&core),
    });
    // Jobs that were not started go back first, at no cost to them.
    for hand in &core.hands {
        core.give_back(hand.close());
    }
    let steps = [
        (core.config.drain, Phase::Cancelling),
        (core.config.cancel, Phase::Releasing),
        (DROP, Phase::Stopped),
    ];
    for (span, next) in steps {
        let all = async { while slots.join_next().await.is_some() {} };
        let done = tokio::select! {
            biased;
            () = all => true,
            () = core.reached(next) => false,
            () = sleep(span) => false,
        };
        if done || next == Phase::Stopped {
            break;
        }
        core.enter(next);
    }
    let left = promised.saturating_duration_since(Instant::now());
    flush(&core, left.clamp(FLUSH.start, FLUSH.end)).await;
    let drained = core.drained();
    core.enter(Phase::Stopped);
    // A loop that waits for an answer that never comes ends later, when its call times out.
    let _ = timeout(DROP, loops.join_all()).await;
    let ShutdownReport {
        drained: ended,
        released,
        unknown,
    } = drained;
    core.events.emit(Event::Stopped {
        drained: ended,
        released,
        unknown,
    });
    drained
}

/// Waits until all claims are answered and all ends recorded, but no longer than `most`.
async fn flush(core: &Core, most: Duration) {
    let begun = Instant::now();
    let open = || core.is_claiming() || core.grants.held() > 0;
    while open() && begun.elapsed() < most {
        core.wake.notify_one();
        sleep(Duration::from_millis(2)).await;
    }
}

impl Core {
    /// The report as of now.
    pub(super) fn drained(&self) -> ShutdownReport {
        ShutdownReport {
            drained: self.tally.drained.load(Relaxed),
            released: self.tally.released.load(Relaxed),
            unknown: self.grants.held(),
        }
    }
}

pub(super) fn busy(core: &Core) -> usize {
    core.hands.iter().map(|hand| hand.busy()).sum()
}

/// Runs a loop. If it panics, which is a bug, emits an event and starts it again.
pub(super) async fn keep<F>(core: Arc<Core>, name: &'static str, run: impl Fn(Arc<Core>) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    while let Err(error) = task::spawn(run(Arc::clone(&core))).await {
        if !error.is_panic() || core.phase() == Phase::Stopped {
            return;
        }
        core.events.emit(Event::LoopFailed { name });
        sleep(Duration::from_secs(1)).await;
    }
}
