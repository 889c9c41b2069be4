//! Waiters of this process, for work or for a job's end.

use std::{
    future::{Future, poll_fn},
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use tokio::sync::Notify;

use crate::JobId;

/// Waiters, spread over slots so that few are notified for nothing. Some may be, because waits may
/// end early.
#[derive(Debug, Default)]
pub(super) struct Wakes {
    ready: [Notify; 16],
    ended: [Notify; 32],
    cancelled: Notify,
}

impl Wakes {
    /// How long a wait lasts at most where others write to the store too.
    const READY: Duration = Duration::from_secs(1);
    const ENDED: Duration = Duration::from_millis(500);

    pub(super) fn wake_ready(&self, queue: &str) {
        slot(&self.ready, queue).notify_waiters();
    }

    pub(super) fn wake_ended(&self, id: JobId) {
        slot(&self.ended, &id).notify_waiters();
    }

    pub(super) fn wake_cancelled(&self) {
        self.cancelled.notify_waiters();
    }

    /// Ends when this process has asked a running job to end. Begins now, not at the first poll.
    pub(super) fn cancelled(&self) -> impl Future<Output = ()> {
        self.cancelled.notified()
    }

    /// Ends when one of the queues may have work. Begins now, not at the first poll.
    pub(super) fn ready(&self, queues: &[Arc<str>], shared: bool) -> impl Future<Output = ()> {
        let waits = queues
            .iter()
            .map(|queue| slot(&self.ready, &**queue).notified());
        let mut waits: Vec<_> = waits.map(Box::pin).collect();
        at_most(shared.then_some(Self::READY), async move {
            poll_fn(|context| {
                let mut woken = false;
                for wait in &mut waits {
                    woken |= wait.as_mut().poll(context).is_ready();
                }
                if woken {
                    Poll::Ready(())
                } else {
                    Poll::Pending
                }
            })
            .await;
        })
    }

    /// Ends when the job may have. Begins now, not at the first poll.
    pub(super) fn ended(&self, id: JobId, shared: bool) -> impl Future<Output = ()> {
        at_most(
            shared.then_some(Self::ENDED),
            slot(&self.ended, &id).notified(),
        )
    }
}

async fn at_most(time: Option<Duration>, wait: impl Future<Output = ()>) {
    match time {
        Some(time) => _ = tokio::time::timeout(time, wait).await,
        None => wait.await,
    }
}

fn slot<'a, T: Hash + ?Sized>(slots: &'a [Notify], of: &T) -> &'a Notify {
    let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(of);
    &slots[hash as usize % slots.len()]
}
