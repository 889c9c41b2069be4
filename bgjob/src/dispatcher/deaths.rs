//! Calls the hooks of `on_dead` from a loop of its own, because a hook may be slow.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{sync::mpsc, time::timeout};

use super::{core::Core, phases::ShutdownPhase};
use crate::{
    events::{DeadJob, Event, Events},
    lock::Locked,
    task,
};

/// How many deaths may wait for the hooks.
const WAITING: usize = 10_000;
/// The longest one call of a hook may take.
const CALL: Duration = Duration::from_secs(30);

type HookCall = Pin<Box<dyn Future<Output = ()> + Send>>;
pub(super) type Hook = Arc<dyn Fn(DeadJob) -> HookCall + Send + Sync>;

/// The hooks, and the deaths that wait for them.
pub(super) struct Deaths {
    hooks: Vec<Hook>,
    /// `tell` sends each death here.
    send: mpsc::Sender<DeadJob>,
    /// The receiving end. The loop takes it when it starts.
    waiting: Mutex<Option<mpsc::Receiver<DeadJob>>>,
}

impl Deaths {
    pub(super) fn new(hooks: Vec<Hook>) -> Self {
        let (send, waiting) = mpsc::channel(WAITING);
        Self {
            hooks,
            send,
            waiting: Mutex::new(Some(waiting)),
        }
    }

    /// Whether there are hooks.
    pub(super) fn are_heard(&self) -> bool {
        !self.hooks.is_empty()
    }

    /// Emits the event now and queues the death for the hooks.
    pub(super) fn tell(&self, events: &Events, dead: DeadJob, announced: bool) {
        let job = &dead;
        events.emit(Event::Dead { job, announced });
        if self.are_heard() && self.send.try_send(dead).is_err() {
            events.emit(Event::DeathsUntold { jobs: 1 });
        }
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Option<mpsc::Receiver<DeadJob>>> {
        self.waiting.locked()
    }
}

impl fmt::Debug for Deaths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Deaths({} hooks)", self.hooks.len())
    }
}

/// Calls the hooks, one death after the other, until the dispatcher has stopped and no death waits.
pub(super) async fn run(core: Arc<Core>) {
    let Some(mut waiting) = core.deaths.waiting().take() else {
        return;
    };
    loop {
        let dead = tokio::select! {
            biased;
            dead = waiting.recv() => dead,
            () = core.phases.reached(ShutdownPhase::Stopped) => None,
        };
        let Some(dead) = dead else {
            return;
        };
        for hook in &core.deaths.hooks {
            let (hook, dead) = (Arc::clone(hook), dead.clone());
            // In a task of its own, so that a panic ends only this call.
            let mut call = task::spawn(async move { hook(dead).await });
            if timeout(CALL, &mut call).await.is_err() {
                call.abort();
            }
        }
    }
}
