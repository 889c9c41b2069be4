//! Who is told of deaths, beside the loops: a hook may take its time.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{sync::mpsc, time::timeout};

use super::core::{Core, Phase};
use crate::{
    events::{DeadJob, Event, Events},
    task,
};

/// Deaths that may wait for the hooks.
const WAITING: usize = 10_000;
/// Longest one call of a hook may take.
const CALL: Duration = Duration::from_secs(30);

type Call = Pin<Box<dyn Future<Output = ()> + Send>>;
pub(super) type Hook = Arc<dyn Fn(DeadJob) -> Call + Send + Sync>;

/// The hooks, and what they have not heard of yet.
pub(super) struct Deaths {
    hooks: Vec<Hook>,
    send: mpsc::Sender<DeadJob>,
    /// Taken by the loop while it is at work.
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

    /// Whether there is anybody to tell.
    pub(super) fn are_heard(&self) -> bool {
        !self.hooks.is_empty()
    }

    /// Tells listeners now, and hooks soon.
    pub(super) fn tell(&self, events: &Events, dead: DeadJob, announced: bool) {
        let job = &dead;
        events.emit(Event::Dead { job, announced });
        if self.are_heard() && self.send.try_send(dead).is_err() {
            events.emit(Event::DeathsUntold { jobs: 1 });
        }
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Option<mpsc::Receiver<DeadJob>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Deaths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Deaths({} hooks)", self.hooks.len())
    }
}

/// Calls the hooks, one death after the other, until the dispatcher has stopped and none is left.
pub(super) async fn run(core: Arc<Core>) {
    let Some(mut waiting) = core.deaths.waiting().take() else {
        return;
    };
    loop {
        let dead = tokio::select! {
            biased;
            dead = waiting.recv() => dead,
            () = core.reached(Phase::Stopped) => None,
        };
        let Some(dead) = dead else {
            return;
        };
        for hook in &core.deaths.hooks {
            let (hook, dead) = (Arc::clone(hook), dead.clone());
            // In a task of its own, which its panic ends, and nothing else.
            let mut call = task::spawn(async move { hook(dead).await });
            if timeout(CALL, &mut call).await.is_err() {
                call.abort();
            }
        }
    }
}
