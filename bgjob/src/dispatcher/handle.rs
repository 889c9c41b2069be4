//! [`DispatcherHandle`]: a running dispatcher, its [`Health`], and its [`ShutdownReport`].

use std::{
    process::{ExitCode, Termination},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use tokio::sync::watch;

use super::{
    core::Core, link::Link, phases::ShutdownPhase, signals::Signals, waits::is_asked_by_its_own,
};
use crate::events::Event;

/// A handle of a running dispatcher. Dropping the handle does not stop the dispatcher:
/// [`shutdown`](Self::shutdown) does, and so does the end of the runtime it was started in.
///
/// Clones are handles of the same dispatcher: one can wait while another answers a health check.
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

    /// Shuts the dispatcher down and waits for it. The dispatcher claims no more jobs, lets running
    /// jobs end (20 s by default), asks the remaining ones to end (3 s by default), and gives back
    /// what is left, at no cost to those jobs.
    ///
    /// A handler that this dispatcher runs can't wait for that, because it would wait for itself.
    /// There the shutdown only begins: the report counts the jobs so far, and
    /// [`Event::WaitsForItself`] is emitted. Such a handler should call
    /// [`begin_shutdown`](Self::begin_shutdown) instead.
    ///
    /// [`Event::WaitsForItself`]: crate::Event::WaitsForItself
    pub async fn shutdown(self) -> ShutdownReport {
        self.core.enter(ShutdownPhase::Draining);
        self.wait().await
    }

    /// Begins the [`shutdown`](Self::shutdown) without waiting for it. Further calls hurry it: the
    /// second one asks running jobs to end at once, the third one gives them back.
    pub fn begin_shutdown(&self) {
        self.core.enter(match self.core.phases.now() {
            ShutdownPhase::Running => ShutdownPhase::Draining,
            ShutdownPhase::Draining => ShutdownPhase::Cancelling,
            ShutdownPhase::Cancelling | ShutdownPhase::Releasing | ShutdownPhase::Stopped => {
                ShutdownPhase::Releasing
            }
        });
    }

    /// A guard that begins the shutdown when it is dropped.
    pub(super) fn ends_with(&self) -> EndsWith {
        EndsWith(Arc::clone(&self.core))
    }

    /// Waits until the dispatcher has ended, for whatever reason. Any number of clones may wait.
    /// Cancel safe.
    ///
    /// In a handler that this dispatcher runs it returns at once, as [`shutdown`](Self::shutdown)
    /// does.
    pub async fn wait(mut self) -> ShutdownReport {
        if is_asked_by_its_own(&self.core) {
            return self.core.drained();
        }
        let word = self.last_word.wait_for(Option::is_some).await;
        // None: the runtime is shutting down.
        let word = word.ok().and_then(|word| *word);
        word.unwrap_or_else(|| self.core.drained())
    }

    /// The dispatcher's name; see [`worker_name`](crate::DispatcherBuilder::worker_name).
    pub fn worker(&self) -> &str {
        &self.core.worker
    }

    /// The current health of the dispatcher.
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
        let at_work = core.phases.now() == ShutdownPhase::Running;
        let stalled = loops
            .into_iter()
            .filter(|(_, beat)| at_work && beats.age(beat) > limit);
        Health {
            draining: core.phases.now() > ShutdownPhase::Running,
            store_down_for: core.store.down_for(),
            queue_down_for: core.queue.as_ref().and_then(Link::down_for),
            slots: core.hands.iter().map(|hand| hand.slots).sum(),
            running: core.hands.busy(),
            waiting: core.hands.iter().map(|hand| hand.waiting()).sum(),
            unrecorded: core.ends.len(),
            stuck: core.tally.stuck.load(Relaxed),
            slowed: core.tally.slowed(),
            unreadable: core.unreadable.count(),
            stalled: stalled.map(|(name, _)| name).collect(),
        }
    }

    /// Runs until a SIGTERM or Ctrl-C, then shuts down; further signals hurry the shutdown. After
    /// [`begin_shutdown`](Self::begin_shutdown) even the first signal hurries it. Also returns when
    /// the dispatcher has ended for another reason.
    /// [`DispatcherBuilder::run`](crate::DispatcherBuilder::run) describes what signals do
    /// afterwards.
    ///
    /// # Errors
    /// `Internal` if listening for signals fails.
    pub async fn until_signal(self) -> crate::Result<ShutdownReport> {
        self.until(Signals::listen()?).await
    }

    /// Like `until_signal`, with signals that are already listened for.
    pub(super) async fn until(self, mut signals: Signals) -> crate::Result<ShutdownReport> {
        tokio::select! {
            biased;
            answer = signals.next() => answer?,
            () = self.core.phases.reached(ShutdownPhase::Stopped) => {}
        }
        self.begin_shutdown();
        let core = Arc::clone(&self.core);
        let hurry = async {
            while signals.next().await.is_ok() {
                let next = if core.phases.now() < ShutdownPhase::Cancelling {
                    ShutdownPhase::Cancelling
                } else {
                    ShutdownPhase::Releasing
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

/// Held by a future that owns its dispatcher: if the future is dropped half way, the shutdown
/// begins.
#[derive(Debug)]
pub(super) struct EndsWith(Arc<Core>);

impl Drop for EndsWith {
    fn drop(&mut self) {
        self.0.enter(ShutdownPhase::Draining);
    }
}

/// The health of a dispatcher: whether its work makes progress, not just whether the process lives.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Health {
    /// The dispatcher is shutting down: send it no new work.
    pub draining: bool,
    /// How long the store has been failing. `None`: it works.
    pub store_down_for: Option<Duration>,
    /// How long the queue has been failing. `None`: it works. Jobs still run meanwhile, somewhat
    /// later.
    pub queue_down_for: Option<Duration>,
    /// The number of slots, over all queues.
    pub slots: usize,
    /// Slots that run a job.
    pub running: usize,
    /// Claimed jobs that wait for a slot.
    pub waiting: usize,
    /// Ended jobs whose end the store has not confirmed yet.
    pub unrecorded: usize,
    /// Slots taken by handlers that can't be stopped.
    pub stuck: usize,
    /// How often the dispatcher has delayed a job that kept asking to run again at once; see
    /// [`Event::Slowed`](crate::Event::Slowed).
    pub slowed: usize,
    /// Stored jobs that this dispatcher found and that can't be read; see [`Event::Unreadable`].
    ///
    /// [`Event::Unreadable`]: crate::Event::Unreadable
    pub unreadable: usize,
    /// Loops that have made no round for two lease lengths.
    pub stalled: Vec<&'static str>,
}

impl Health {
    /// Whether the dispatcher does its work: the store answers, no loop is stalled, and fewer than
    /// a quarter of the slots are stuck.
    pub fn is_good(&self) -> bool {
        self.store_down_for.is_none() && self.stalled.is_empty() && self.stuck * 4 < self.slots
    }
}

/// What became of the jobs that a dispatcher held when it was shut down. As the result of `main`
/// the report gives exit code 0, even if jobs were given back, which is normal at a deploy. The
/// code is 10 only if the store did not confirm an end in time.
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
    /// Jobs that ended by themselves.
    pub drained: usize,
    /// Jobs given back: they run elsewhere, or here later.
    pub released: usize,
    /// Jobs whose end the store did not confirm in time: they may run again.
    pub unknown: usize,
}

impl ShutdownReport {
    /// The event that ends the shutdown.
    pub(super) fn event(self) -> Event<'static> {
        Event::Stopped {
            drained: self.drained,
            released: self.released,
            unknown: self.unknown,
        }
    }
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
