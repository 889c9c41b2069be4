//! [`DispatcherHandle`]: a dispatcher at work, [`Health`] and the final word, [`ShutdownReport`].

use std::{
    process::{ExitCode, Termination},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use tokio::sync::watch;

use super::{
    core::{Core, Phase},
    shutdown::busy,
    signals::Signals,
};

/// A dispatcher at work. Dropping it lets the dispatcher go on, until the runtime ends that it was
/// started in; [`shutdown`](Self::shutdown) ends it.
///
/// Clones are handles of the same dispatcher: one is waited for, another answers a health check.
///
/// ```
/// use bgjob::{Health, Registry, DispatcherHandle, prelude::*};
///
/// #[job]
/// async fn greet(name: String) {}
///
/// fn healthz(dispatcher: &DispatcherHandle) -> u16 {
///     if dispatcher.health().is_good() { 200 } else { 503 }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> bgjob::Result<()> {
/// let jobs = JobManager::connect("memory:").await?;
/// let registry = Registry::new().with::<greet>();
/// let running = JobDispatcher::builder(&jobs).registry(registry).start().await?;
/// let probe = running.clone(); // for the web server
/// assert_eq!(healthz(&probe), 200);
/// running.shutdown().await;
/// assert!(probe.health().draining);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct DispatcherHandle {
    core: Arc<Core>,
    last_word: watch::Receiver<Option<ShutdownReport>>,
}

impl DispatcherHandle {
    pub(super) fn new(core: Arc<Core>, last_word: watch::Receiver<Option<ShutdownReport>>) -> Self {
        Self { core, last_word }
    }

    /// Ends it: claims no more, lets end what runs (20 s unless told otherwise), asks the rest to
    /// end (3 s), gives back what is left, at no cost to the jobs.
    ///
    /// A handler that this dispatcher runs can't wait for that, as it would wait for itself: there
    /// it begins, the answer tells what has ended so far, and [`Event::WaitsForItself`] is told.
    /// [`begin_shutdown`](Self::begin_shutdown) is what such a handler means.
    ///
    /// [`Event::WaitsForItself`]: crate::Event::WaitsForItself
    pub async fn shutdown(self) -> ShutdownReport {
        self.core.enter(Phase::Draining);
        self.wait().await
    }

    /// Begins [`shutdown`](Self::shutdown) without waiting for it; called again it hurries: the
    /// second time running jobs are asked to end at once, the third time they are given back.
    pub fn begin_shutdown(&self) {
        self.core.enter(match self.core.phase() {
            Phase::Running => Phase::Draining,
            Phase::Draining => Phase::Cancelling,
            Phase::Cancelling | Phase::Releasing | Phase::Stopped => Phase::Releasing,
        });
    }

    /// Ends it once this is dropped.
    pub(super) fn ends_with(&self) -> EndsWith {
        EndsWith(Arc::clone(&self.core))
    }

    /// Waits until it has ended, whoever ended it. Any number of clones may wait. Cancel safe.
    ///
    /// Not in a handler that it runs itself: there it answers at once, as
    /// [`shutdown`](Self::shutdown) does.
    pub async fn wait(mut self) -> ShutdownReport {
        if self.core.is_asked_by_its_own() {
            return self.core.drained();
        }
        let word = self.last_word.wait_for(Option::is_some).await;
        // None: the runtime is going down around it.
        let word = word.ok().and_then(|word| *word);
        word.unwrap_or_else(|| self.core.drained())
    }

    /// What it is called; see [`worker_name`](crate::DispatcherBuilder::worker_name).
    pub fn worker(&self) -> &str {
        &self.core.worker
    }

    /// How it is doing.
    pub fn health(&self) -> Health {
        let core = &self.core;
        let beats = &core.beats;
        let limit = 2 * core.config.lease;
        let loops = [
            ("fetch", &beats.fetch),
            ("lease", &beats.lease),
            ("maintain", &beats.maintain),
            ("runtime", &beats.pulse),
        ];
        let at_work = core.phase() == Phase::Running;
        let stalled = loops
            .into_iter()
            .filter(|(_, beat)| at_work && beats.age(beat) > limit);
        Health {
            draining: core.phase() > Phase::Running,
            store_down_for: core.store_state.down_for(),
            queue_down_for: core.queue_state.down_for(),
            slots: core.hands.iter().map(|hand| hand.slots).sum(),
            running: busy(core),
            waiting: core.hands.iter().map(|hand| hand.waiting()).sum(),
            unrecorded: core.ends.len(),
            stuck: core.tally.stuck.load(Relaxed),
            slowed: core.tally.slowed.load(Relaxed),
            unreadable: core.unreadable.count(),
            stalled: stalled.map(|(name, _)| name).collect(),
        }
    }

    /// Runs until a SIGTERM or Ctrl-C, then shuts down; more signals hurry. Returns also when it
    /// has ended for another reason; after [`begin_shutdown`](Self::begin_shutdown) the first
    /// signal hurries already. What signals do afterwards is said at
    /// [`DispatcherBuilder::run`](crate::DispatcherBuilder::run).
    ///
    /// # Errors
    /// `Internal` where signals can't be listened to.
    pub async fn until_signal(self) -> crate::Result<ShutdownReport> {
        self.until(Signals::listen()?).await
    }

    /// Runs until one of these, that are listened to already.
    pub(super) async fn until(self, mut signals: Signals) -> crate::Result<ShutdownReport> {
        tokio::select! {
            biased;
            answer = signals.next() => answer?,
            () = self.core.reached(Phase::Stopped) => {}
        }
        self.begin_shutdown();
        let core = Arc::clone(&self.core);
        let hurry = async {
            while signals.next().await.is_ok() {
                let next = if core.phase() < Phase::Cancelling {
                    Phase::Cancelling
                } else {
                    Phase::Releasing
                };
                core.enter(next);
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            biased;
            drained = self.wait() => Ok(drained),
            () = hurry => unreachable!("it hurries for ever"),
        }
    }
}

/// A future that is a dispatcher's whole life: dropped half way, it begins the shutdown.
#[derive(Debug)]
pub(super) struct EndsWith(Arc<Core>);

impl Drop for EndsWith {
    fn drop(&mut self) {
        self.0.enter(Phase::Draining);
    }
}

/// How a dispatcher is doing. It follows progress, not the life of the process.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Health {
    /// It is being shut down: send no new work here.
    pub draining: bool,
    /// How long the store has not answered.
    pub store_down_for: Option<Duration>,
    /// How long the queue has not answered; jobs run all the same, somewhat later.
    pub queue_down_for: Option<Duration>,
    /// Slots in all.
    pub slots: usize,
    /// Slots that run a job.
    pub running: usize,
    /// Claimed jobs that wait for a slot.
    pub waiting: usize,
    /// Ended jobs the store has not confirmed yet.
    pub unrecorded: usize,
    /// Slots taken by handlers that can't be stopped.
    pub stuck: usize,
    /// How often a job was made to wait that asked to run again at once, again and again; see
    /// [`Event::Slowed`](crate::Event::Slowed).
    pub slowed: usize,
    /// Stored jobs this one came across that can't be read; see [`Event::Unreadable`].
    ///
    /// [`Event::Unreadable`]: crate::Event::Unreadable
    pub unreadable: usize,
    /// Loops that have not come round for two leases.
    pub stalled: Vec<&'static str>,
}

impl Health {
    /// Whether it does its work: the store answers, no loop stalls, and fewer than a quarter of the
    /// slots are stuck.
    pub fn is_good(&self) -> bool {
        self.store_down_for.is_none() && self.stalled.is_empty() && self.stuck * 4 < self.slots
    }
}

/// What became of the jobs a dispatcher had in its hands when it was shut down. As the result of
/// `main` it is exit code 0: jobs that were given back are what a deploy leaves behind. The code is
/// 10 only where the store did not confirm an end in time.
///
/// ```
/// use std::process::{ExitCode, Termination};
///
/// use bgjob::ShutdownReport;
///
/// let deploy = ShutdownReport { drained: 3, released: 2, unknown: 0 };
/// assert_eq!(deploy.report(), ExitCode::SUCCESS);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShutdownReport {
    /// Ended by themselves.
    pub drained: usize,
    /// Given back: they run elsewhere, or here later.
    pub released: usize,
    /// Ended, but the store did not confirm it in time: they may run again.
    pub unknown: usize,
}

impl Termination for ShutdownReport {
    fn report(self) -> ExitCode {
        if self.unknown == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::from(10)
        }
    }
}
