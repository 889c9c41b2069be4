//! Waits, by what is waited for, and their wake-ups.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard},
};

use tokio::sync::Notify;

use crate::JobId;
use crate::lock::Locked;

/// The waits of one store within a process.
#[derive(Debug, Default)]
pub struct Wake {
    waits: Mutex<Waits>,
    /// Whether anyone was woken for work since the last `has_called`.
    called: AtomicBool,
}

#[derive(Debug, Default)]
struct Waits {
    /// The next number of a wait. Numbers are never used twice.
    next: u64,
    ready: BTreeMap<u64, (Vec<Arc<str>>, Arc<Notify>)>,
    ended: HashMap<JobId, BTreeMap<u64, Arc<Notify>>>,
    cancelled: BTreeMap<u64, Arc<Notify>>,
}

/// What a wait is for.
#[derive(Debug, Clone, Copy)]
enum On {
    Ready,
    Ended(JobId),
    Cancelled,
}

/// One wait. It begins when it is made and ends when it is dropped.
#[derive(Debug)]
pub struct Wait {
    wake: Arc<Wake>,
    number: u64,
    on: On,
    notify: Arc<Notify>,
}

impl Wake {
    /// Waits for work in one of these queues.
    pub fn wait_ready(self: &Arc<Self>, queues: &[Arc<str>]) -> Wait {
        let wait = self.wait(On::Ready);
        self.lock()
            .ready
            .insert(wait.number, (queues.to_vec(), Arc::clone(&wait.notify)));
        wait
    }

    /// Waits for the end of a job.
    pub fn wait_ended(self: &Arc<Self>, job: JobId) -> Wait {
        let wait = self.wait(On::Ended(job));
        let notify = Arc::clone(&wait.notify);
        self.lock()
            .ended
            .entry(job)
            .or_default()
            .insert(wait.number, notify);
        wait
    }

    /// Waits for running jobs to be asked to end.
    pub fn wait_cancelled(self: &Arc<Self>) -> Wait {
        let wait = self.wait(On::Cancelled);
        let notify = Arc::clone(&wait.notify);
        self.lock().cancelled.insert(wait.number, notify);
        wait
    }

    /// Wakes those that hold jobs: one of the jobs may have been asked to end.
    pub fn cancelled(&self) {
        let waits = self.lock();
        waits.cancelled.values().for_each(|n| n.notify_one());
    }

    /// Whether anyone waits.
    pub fn is_waited_on(&self) -> bool {
        let waits = self.lock();
        !(waits.ready.is_empty() && waits.ended.is_empty() && waits.cancelled.is_empty())
    }

    /// Wakes those that wait for work in one of these queues. Returns whether there are any.
    pub fn ready(&self, ready: &[Arc<str>]) -> bool {
        let mut any = false;
        if ready.is_empty() {
            return any;
        }
        for (queues, notify) in self.lock().ready.values() {
            if queues.iter().any(|queue| ready.contains(queue)) {
                notify.notify_one();
                any = true;
                self.called.store(true, Relaxed);
            }
        }
        any
    }

    /// Whether anyone was woken for work since the last call.
    pub fn has_called(&self) -> bool {
        self.called.swap(false, Relaxed)
    }

    /// Wakes those that wait for the end of one of these jobs.
    pub fn ended(&self, jobs: &[JobId]) {
        let waits = self.lock();
        if waits.ended.is_empty() {
            return;
        }
        for job in jobs {
            let waits = waits.ended.get(job).into_iter().flatten();
            waits.for_each(|(_, notify)| notify.notify_one());
        }
    }

    /// Wakes everyone: something happened, but it is not known what.
    pub fn all(&self) {
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
        waits.cancelled.values().for_each(|n| n.notify_one());
    }

    fn wait(self: &Arc<Self>, on: On) -> Wait {
        let mut waits = self.lock();
        waits.next += 1;
        Wait {
            wake: Arc::clone(self),
            number: waits.next,
            on,
            notify: Arc::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waits> {
        self.waits.locked()
    }
}

impl Wait {
    /// Returns once the wait was woken, even if that was before the call.
    pub async fn woken(&self) {
        self.notify.notified().await;
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        let mut waits = self.wake.lock();
        match self.on {
            On::Ready => {
                waits.ready.remove(&self.number);
            }
            On::Cancelled => {
                waits.cancelled.remove(&self.number);
            }
            On::Ended(job) => {
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
