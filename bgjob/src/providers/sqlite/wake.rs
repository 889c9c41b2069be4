//! Who waits for what, and waking them.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use crate::JobId;

use super::tx::News;

/// The waits of one store. Within the process the writer wakes them after each commit; what other
/// processes commit the writer finds by polling, as long as there is anyone to wake.
#[derive(Debug, Default)]
pub(super) struct Wake(Mutex<Waits>);

#[derive(Debug, Default)]
struct Waits {
    /// Numbers are never used twice.
    next: u64,
    ready: BTreeMap<u64, (Vec<Arc<str>>, Arc<Notify>)>,
    ended: HashMap<JobId, BTreeMap<u64, Arc<Notify>>>,
}

/// One wait. It begins when it is made and ends when it is dropped.
#[derive(Debug)]
pub(super) struct Wait {
    wake: Arc<Wake>,
    number: u64,
    job: Option<JobId>,
    notify: Arc<Notify>,
}

impl Wake {
    /// Waits for work in one of these queues.
    pub(super) fn ready(self: &Arc<Self>, queues: &[Arc<str>]) -> Wait {
        let wait = self.wait(None);
        self.lock()
            .ready
            .insert(wait.number, (queues.to_vec(), Arc::clone(&wait.notify)));
        wait
    }

    /// Waits for the end of a job.
    pub(super) fn ended(self: &Arc<Self>, job: JobId) -> Wait {
        let wait = self.wait(Some(job));
        let notify = Arc::clone(&wait.notify);
        self.lock()
            .ended
            .entry(job)
            .or_default()
            .insert(wait.number, notify);
        wait
    }

    /// Whether anyone waits.
    pub(super) fn is_waited_on(&self) -> bool {
        let waits = self.lock();
        !waits.ready.is_empty() || !waits.ended.is_empty()
    }

    /// Wakes those that wait for what this news tells.
    pub(super) fn publish(&self, news: &News) {
        let waits = self.lock();
        if !news.ready.is_empty() {
            for (queues, notify) in waits.ready.values() {
                if queues.iter().any(|queue| news.ready.contains(queue)) {
                    notify.notify_one();
                }
            }
        }
        if !waits.ended.is_empty() {
            for job in &news.ended {
                waits
                    .ended
                    .get(job)
                    .into_iter()
                    .flatten()
                    .for_each(|(_, n)| n.notify_one());
            }
        }
    }

    /// Wakes everyone: something happened, nobody here knows what.
    pub(super) fn all(&self) {
        let waits = self.lock();
        waits
            .ready
            .values()
            .for_each(|(_, notify)| notify.notify_one());
        waits
            .ended
            .values()
            .flatten()
            .for_each(|(_, notify)| notify.notify_one());
    }

    fn wait(self: &Arc<Self>, job: Option<JobId>) -> Wait {
        let mut waits = self.lock();
        waits.next += 1;
        Wait {
            wake: Arc::clone(self),
            number: waits.next,
            job,
            notify: Arc::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waits> {
        // Nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wait {
    /// Returns once it was woken, be that before the call.
    pub(super) async fn woken(&self) {
        self.notify.notified().await;
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        let mut waits = self.wake.lock();
        match self.job {
            None => {
                waits.ready.remove(&self.number);
            }
            Some(job) => {
                if let Some(others) = waits.ended.get_mut(&job) {
                    others.remove(&self.number);
                    if others.is_empty() {
                        waits.ended.remove(&job);
                    }
                }
            }
        }
    }
}
