//! The waiters, and what they wait for. Costs nothing while there are none.

use std::{collections::HashMap, mem, sync::Arc};

use tokio::sync::Notify;

use crate::JobId;

/// One waiter: what it waits for, and how it is notified.
pub(super) struct Wait {
    pub(super) notify: Arc<Notify>,
    pub(super) on: On,
}

pub(super) enum On {
    /// Work in one of these queues, by their numbers.
    Ready(Vec<u32>),
    /// The end of this job.
    Ended(JobId),
    /// Running jobs that are asked to end.
    Cancelled,
}

#[derive(Default)]
pub(super) struct Waits {
    ready: HashMap<u32, Vec<Arc<Notify>>>,
    ended: HashMap<JobId, Vec<Arc<Notify>>>,
    cancelled: Vec<Arc<Notify>>,
    /// Waiters to notify once the lock is released.
    woken: Vec<Arc<Notify>>,
}

impl Waits {
    pub(super) fn join(&mut self, on: On) -> Wait {
        let notify = Arc::new(Notify::new());
        match &on {
            On::Ready(queues) => {
                for queue in queues {
                    let waiters = self.ready.entry(*queue).or_default();
                    waiters.push(Arc::clone(&notify));
                }
            }
            On::Ended(id) => self.ended.entry(*id).or_default().push(Arc::clone(&notify)),
            On::Cancelled => self.cancelled.push(Arc::clone(&notify)),
        }
        Wait { notify, on }
    }

    pub(super) fn leave(&mut self, wait: &Wait) {
        match &wait.on {
            On::Ready(queues) => {
                for queue in queues {
                    forget(&mut self.ready, queue, &wait.notify);
                }
            }
            On::Ended(id) => forget(&mut self.ended, id, &wait.notify),
            On::Cancelled => self
                .cancelled
                .retain(|waiter| !Arc::ptr_eq(waiter, &wait.notify)),
        }
    }

    /// Whether a caller waits for work in this queue.
    pub(super) fn is_awaited(&self, queue: u32) -> bool {
        self.ready.contains_key(&queue)
    }

    pub(super) fn wake_ready(&mut self, queue: u32) {
        if !self.ready.is_empty()
            && let Some(waiters) = self.ready.remove(&queue)
        {
            self.woken.extend(waiters);
        }
    }

    pub(super) fn wake_ended(&mut self, id: JobId) {
        if !self.ended.is_empty()
            && let Some(waiters) = self.ended.remove(&id)
        {
            self.woken.extend(waiters);
        }
    }

    pub(super) fn wake_cancelled(&mut self) {
        self.woken.append(&mut self.cancelled);
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.ended.is_empty() && self.cancelled.is_empty()
    }

    pub(super) fn take_woken(&mut self) -> Vec<Arc<Notify>> {
        mem::take(&mut self.woken)
    }
}

fn forget<K: Eq + std::hash::Hash>(
    waiting: &mut HashMap<K, Vec<Arc<Notify>>>,
    key: &K,
    notify: &Arc<Notify>,
) {
    if let Some(waiters) = waiting.get_mut(key) {
        waiters.retain(|waiter| !Arc::ptr_eq(waiter, notify));
        if waiters.is_empty() {
            waiting.remove(key);
        }
    }
}
