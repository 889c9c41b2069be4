//! [`ChannelQueue`]: hints within one process.
//!
//! | | |
//! |---|---|
//! | durability | none: hints are gone with the process, and the sweeper finds their jobs |
//! | order | most urgent first, then first in, first out |
//! | delivery | at least once: again after 30 s without an acknowledgement |
//! | limits | a million hints per queue; a thousand queues that nobody receives from |

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use async_trait::async_trait;
use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

use super::plain;
use crate::{
    JobId, JobQueue, Priority, Result, Want,
    lock::Locked,
    queue::{Delivery, Hint, QueueCapabilities, Receipt},
    store::Scheme,
};

/// How [`JobManager`](crate::JobManager) opens it.
pub(super) const SCHEME: Scheme = Scheme::queue("channel", |url| {
    Box::pin(async move {
        plain(url, "channel:")?;
        Ok(Arc::new(ChannelQueue::new()) as Arc<dyn JobQueue>)
    })
});

/// Carries hints from the managers to the dispatchers of one process.
///
/// ```
/// use bgjob::{JobId, JobQueue, Priority, Want, providers::channel::ChannelQueue, queue::Hint};
/// use std::time::Duration;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> bgjob::Result<()> {
/// let queue = ChannelQueue::new();
/// let hint = Hint::new(JobId::new(), "mail", Priority::Normal);
/// queue.push(&[hint.clone()]).await?;
///
/// let want = Want::new("mail", 10);
/// let received = queue.receive(&[want], Duration::ZERO).await?;
/// assert_eq!(received[0].hint, hint);
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[doc(alias = "ChannelBasedQueueProvider")]
pub struct ChannelQueue {
    max_depth: usize,
    redelivery: Duration,
    /// Notified after each push and nack; every waiting receiver looks again.
    arrived: Notify,
    /// The lock is never held across an await.
    hints: Mutex<Hints>,
}

#[derive(Debug, Default)]
struct Hints {
    /// The waiting hints, by queue.
    waiting: HashMap<Arc<str>, QueueHints>,
    /// The queues that nobody had received from when they were added, the oldest first.
    strange: VecDeque<Arc<str>>,
    /// Deliveries that are not acknowledged yet, by number (their receipt), each with the time at
    /// which the hint waits again.
    out: HashMap<u64, (Instant, Hint)>,
    /// The same deliveries, by time.
    back: BTreeSet<(Instant, u64)>,
    receipts: u64,
}

/// The waiting hints of one queue.
#[derive(Debug, Default)]
struct QueueHints {
    /// By [`Priority::rank`].
    levels: [VecDeque<JobId>; Priority::ALL.len()],
    /// Someone has received from the queue.
    is_served: bool,
}

/// The most queues that nobody receives from. Beyond that the oldest loses its hints: names of
/// queues may come from outside, and the sweeper hints again.
const STRANGE: usize = 1000;

impl ChannelQueue {
    /// The most hints of one queue, by default.
    const MAX_DEPTH: usize = 1_000_000;
    /// A delivery that was not acknowledged after this long is made again. Dispatchers acknowledge
    /// within a round trip to the store; a delivery that takes longer was lost on the way.
    const REDELIVERY: Duration = Duration::from_secs(30);

    /// An empty queue.
    pub fn new() -> Self {
        Self::with_limits(Self::MAX_DEPTH, Self::REDELIVERY)
    }

    /// A queue that holds at most `max_depth` hints for each queue name, and makes a delivery again
    /// after `redelivery` without an acknowledgement.
    ///
    /// Hints beyond the depth are dropped, the newest ones: the ones that wait longest matter most,
    /// and the sweeper hints at the other jobs again.
    pub fn with_limits(max_depth: usize, redelivery: Duration) -> Self {
        Self {
            max_depth,
            redelivery,
            arrived: Notify::new(),
            hints: Mutex::default(),
        }
    }

    fn hints(&self) -> MutexGuard<'_, Hints> {
        self.hints.locked()
    }
}

impl Default for ChannelQueue {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl JobQueue for ChannelQueue {
    fn capabilities(&self) -> QueueCapabilities {
        let mut capabilities = QueueCapabilities::new("channel");
        capabilities.shared = false;
        capabilities
    }

    async fn ensure(&self, queues: &[Arc<str>]) -> Result<()> {
        let mut hints = self.hints();
        for queue in queues {
            hints.serve(queue);
        }
        Ok(())
    }

    async fn push(&self, hints: &[Hint]) -> Result<()> {
        let mut state = self.hints();
        for hint in hints {
            if state.depth(&hint.queue) < self.max_depth {
                state.wait(hint);
            }
        }
        drop(state);
        self.arrived.notify_waiters();
        Ok(())
    }

    async fn receive(&self, want: &[Want], wait: Duration) -> Result<Vec<Delivery>> {
        let deadline = Instant::now() + wait;
        loop {
            let mut arrived = std::pin::pin!(self.arrived.notified());
            // Registered before the look, so that a push between the two is not missed.
            arrived.as_mut().enable();
            let now = Instant::now();
            let (deliveries, back) = self.hints().take(want, now, self.redelivery);
            if !deliveries.is_empty() || now >= deadline {
                return Ok(deliveries);
            }
            let until = back.map_or(deadline, |back| back.min(deadline));
            // A push, a delivery that is due back, or the end of the wait: the next look finds out
            // which.
            timeout_at(until, arrived).await.ok();
        }
    }

    async fn ack(&self, receipts: &[Receipt]) -> Result<()> {
        let mut hints = self.hints();
        for receipt in receipts {
            hints.remove(receipt);
        }
        Ok(())
    }

    async fn nack(&self, receipts: &[Receipt], after: Duration) -> Result<()> {
        let back = Instant::now() + after;
        let mut hints = self.hints();
        for receipt in receipts {
            if let Some((number, hint)) = hints.remove(receipt) {
                hints.send_out(number, back, hint);
            }
        }
        drop(hints);
        self.arrived.notify_waiters();
        Ok(())
    }

    async fn depth(&self, queue: &str) -> Result<u64> {
        Ok(self.hints().depth(queue) as u64)
    }
}

impl Hints {
    fn depth(&self, queue: &str) -> usize {
        let line = self.waiting.get(queue);
        line.map_or(0, |line| line.levels.iter().map(VecDeque::len).sum())
    }

    /// The line of a queue that someone receives from.
    fn serve(&mut self, queue: &Arc<str>) -> &mut QueueHints {
        let line = self.waiting.entry(Arc::clone(queue)).or_default();
        line.is_served = true;
        line
    }

    fn wait(&mut self, hint: &Hint) {
        // Looked up first, as the name is cloned only if it is new.
        if !self.waiting.contains_key(&hint.queue) {
            self.begin(&hint.queue);
        }
        if let Some(line) = self.waiting.get_mut(&hint.queue) {
            line.levels[usize::from(hint.priority.rank())].push_back(hint.id);
        }
    }

    /// Begins the line of a queue that nobody has received from.
    fn begin(&mut self, queue: &Arc<str>) {
        self.waiting
            .insert(Arc::clone(queue), QueueHints::default());
        self.strange.push_back(Arc::clone(queue));
        if self.strange.len() > STRANGE
            && let Some(oldest) = self.strange.pop_front()
            && self
                .waiting
                .get(&oldest)
                .is_some_and(|line| !line.is_served)
        {
            self.waiting.remove(&oldest);
        }
    }

    /// Takes waiting hints, and returns when the next delivery is due back.
    fn take(
        &mut self,
        want: &[Want],
        now: Instant,
        redelivery: Duration,
    ) -> (Vec<Delivery>, Option<Instant>) {
        while let Some((back, number)) = self.back.first().copied()
            && back <= now
        {
            self.back.pop_first();
            if let Some((_, hint)) = self.out.remove(&number) {
                self.wait(&hint);
            }
        }
        let mut deliveries = Vec::new();
        for Want { queue, max, .. } in want {
            for hint in self.pop(queue, *max) {
                self.receipts += 1;
                let receipt = Receipt(self.receipts.to_be_bytes().to_vec());
                self.send_out(self.receipts, now + redelivery, hint.clone());
                deliveries.push(Delivery::new(hint, receipt));
            }
        }
        (deliveries, self.back.first().map(|(back, _)| *back))
    }

    fn pop(&mut self, queue: &Arc<str>, max: usize) -> Vec<Hint> {
        let levels = &mut self.serve(queue).levels;
        let levels = levels.iter_mut().zip(Priority::ALL);
        let hints = levels.flat_map(|(ids, priority)| {
            std::iter::from_fn(|| ids.pop_front())
                .map(move |id| Hint::new(id, Arc::clone(queue), priority))
        });
        hints.take(max).collect()
    }

    fn send_out(&mut self, number: u64, back: Instant, hint: Hint) {
        self.out.insert(number, (back, hint));
        self.back.insert((back, number));
    }

    fn remove(&mut self, receipt: &Receipt) -> Option<(u64, Hint)> {
        let number = u64::from_be_bytes(receipt.0.as_slice().try_into().ok()?);
        let (back, hint) = self.out.remove(&number)?;
        self.back.remove(&(back, number));
        Some((number, hint))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hint(queue: &str) -> Hint {
        Hint::new(JobId::new(), queue, Priority::Normal)
    }

    #[tokio::test]
    async fn names_from_outside_do_not_gather() {
        let queue = ChannelQueue::new();
        queue.ensure(&["mine".into()]).await.expect("it can");
        queue
            .push(&[hint("mine"), hint("first")])
            .await
            .expect("it can");
        for n in 0..2 * STRANGE {
            let strange = hint(&format!("tenant-{n}"));
            queue.push(&[strange]).await.expect("it can");
        }
        assert_eq!(queue.hints().waiting.len(), STRANGE + 1);
        assert_eq!(queue.depth("first").await.expect("it can"), 0);
        assert_eq!(queue.depth("mine").await.expect("it can"), 1);
        let newest = format!("tenant-{}", 2 * STRANGE - 1);
        let want = Want::new(newest, 9);
        let received = queue.receive(&[want], Duration::ZERO).await;
        assert_eq!(received.expect("it can").len(), 1);
    }
}
