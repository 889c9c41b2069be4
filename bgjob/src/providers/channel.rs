//! [`ChannelQueue`]: hints within one process.
//!
//! | | |
//! |---|---|
//! | durability | none: hints are gone with the process, and the sweeper finds their jobs |
//! | order | most urgent first, then first in, first out |
//! | delivery | at least once: again after 30 s without an acknowledgement |
//! | limits | a million hints a queue |

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

use crate::{
    JobId, JobQueue, Priority, Result, Want,
    queue::{Delivery, Hint, QueueCapabilities, Receipt},
};

/// Carries hints from the managers to the dispatchers of one process.
///
/// ```
/// use bgjob::{JobId, JobQueue, Priority, Want, providers::channel::ChannelQueue, queue::Hint};
/// use std::time::Duration;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> bgjob::Result<()> {
/// let queue = ChannelQueue::new();
/// let hint = Hint { id: JobId::new(), queue: "mail".into(), priority: Priority::Normal };
/// queue.push(&[hint.clone()]).await?;
///
/// let want = Want { queue: "mail".into(), max: 10 };
/// let received = queue.receive(&[want], Duration::ZERO).await?;
/// assert_eq!(received[0].hint, hint);
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[doc(alias = "ChannelBasedQueueProvider")]
pub struct ChannelQueue {
    max_depth: usize,
    redelivery: Duration,
    /// Told after each push and nack; every waiting receiver looks again.
    arrived: Notify,
    /// Never held across an await.
    hints: Mutex<Hints>,
}

#[derive(Debug, Default)]
struct Hints {
    /// By queue: the ids that wait, by [`Priority::rank`].
    waiting: HashMap<Arc<str>, [VecDeque<JobId>; Priority::ALL.len()]>,
    /// Deliveries that nobody acknowledged yet, by the number that is their receipt, each with the
    /// time it waits again.
    out: HashMap<u64, (Instant, Hint)>,
    /// The same by time.
    back: BTreeSet<(Instant, u64)>,
    receipts: u64,
}

impl ChannelQueue {
    /// Hints a queue holds unless told otherwise.
    const MAX_DEPTH: usize = 1_000_000;
    /// After so long a delivery that was not acknowledged is made again. Dispatchers acknowledge
    /// within a round trip to the store; what takes longer was dropped on the way.
    const REDELIVERY: Duration = Duration::from_secs(30);

    /// An empty queue.
    pub fn new() -> Self {
        Self::with_limits(Self::MAX_DEPTH, Self::REDELIVERY)
    }

    /// A queue that holds at most `max_depth` hints a queue name and makes a delivery again after
    /// `redelivery` without an acknowledgement.
    ///
    /// Hints beyond the depth are dropped, the newest ones: those that wait longest matter most,
    /// and the sweeper hints at the others again.
    pub fn with_limits(max_depth: usize, redelivery: Duration) -> Self {
        Self {
            max_depth,
            redelivery,
            arrived: Notify::new(),
            hints: Mutex::default(),
        }
    }

    fn hints(&self) -> MutexGuard<'_, Hints> {
        self.hints.lock().unwrap_or_else(PoisonError::into_inner)
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
            hints.waiting.entry(Arc::clone(queue)).or_default();
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
            // Pushed, due back or at the end of the wait: the next look tells.
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
        let levels = self.waiting.get(queue);
        levels.map_or(0, |levels| levels.iter().map(VecDeque::len).sum())
    }

    fn wait(&mut self, hint: &Hint) {
        // Looked up first: the name is cloned only where it is new.
        if !self.waiting.contains_key(&hint.queue) {
            self.waiting
                .insert(Arc::clone(&hint.queue), Default::default());
        }
        if let Some(levels) = self.waiting.get_mut(&hint.queue) {
            levels[usize::from(hint.priority.rank())].push_back(hint.id);
        }
    }

    /// Takes what waits, and says when the next delivery is due back.
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
        for Want { queue, max } in want {
            for hint in self.pop(queue, *max) {
                self.receipts += 1;
                let receipt = Receipt(self.receipts.to_be_bytes().to_vec());
                self.send_out(self.receipts, now + redelivery, hint.clone());
                deliveries.push(Delivery { hint, receipt });
            }
        }
        (deliveries, self.back.first().map(|(back, _)| *back))
    }

    fn pop(&mut self, queue: &Arc<str>, max: usize) -> Vec<Hint> {
        let Some(levels) = self.waiting.get_mut(queue) else {
            return Vec::new();
        };
        let levels = levels.iter_mut().zip(Priority::ALL);
        let hints = levels.flat_map(|(ids, priority)| {
            std::iter::from_fn(|| ids.pop_front()).map(move |id| Hint {
                id,
                queue: Arc::clone(queue),
                priority,
            })
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
