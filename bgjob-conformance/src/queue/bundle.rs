//! [`Bundle`]: a fresh queue, and helpers that keep the cases short.

use std::{fmt, sync::Arc, time::Duration};

use bgjob::{
    JobId, JobQueue, Priority, Want,
    queue::{Delivery, Hint, Receipt},
};

use crate::QueueFixture;

pub(super) const QUEUE: &str = "pictures";
pub(super) const OTHER_QUEUE: &str = "mail";

/// Longer than a hint takes to arrive.
pub(super) const SOON: Duration = secs(5);

pub(super) const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// What a case of the queue suite works with.
pub struct Bundle {
    /// The queue under test, with two queue names that exist and are empty at first.
    pub queue: Arc<dyn JobQueue>,
    pub(super) fixture: Box<dyn QueueFixture>,
}

impl fmt::Debug for Bundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bundle")
            .field("queue", &self.queue)
            .finish_non_exhaustive()
    }
}

/// A hint for this queue, at a new job.
pub(super) fn hint_to(queue: &str, priority: Priority) -> Hint {
    Hint::new(JobId::new(), queue, priority)
}

pub(super) fn hint(priority: Priority) -> Hint {
    hint_to(QUEUE, priority)
}

/// Some hints with nothing special about them.
pub(super) fn plain(n: usize) -> Vec<Hint> {
    (0..n).map(|_| hint(Priority::Normal)).collect()
}

pub(super) fn other(n: usize) -> Vec<Hint> {
    let hint = |_| hint_to(OTHER_QUEUE, Priority::Normal);
    (0..n).map(hint).collect()
}

pub(super) fn want(queue: &str, max: usize) -> Want {
    Want::new(queue, max)
}

pub(super) fn receipts(deliveries: &[Delivery]) -> Vec<Receipt> {
    deliveries
        .iter()
        .map(|delivery| delivery.receipt.clone())
        .collect()
}

/// The ids of hints or deliveries, in one order.
pub(super) fn ids<'a>(hints: impl IntoIterator<Item = &'a Hint>) -> Vec<JobId> {
    let mut ids: Vec<_> = hints.into_iter().map(|hint| hint.id).collect();
    ids.sort();
    ids
}

pub(super) fn delivered(deliveries: &[Delivery]) -> Vec<JobId> {
    ids(deliveries.iter().map(|delivery| &delivery.hint))
}

impl Bundle {
    pub(crate) async fn new(fixture: impl QueueFixture + 'static) -> Self {
        let bundle = Self {
            queue: fixture.queue(),
            fixture: Box::new(fixture),
        };
        bundle.ensure(&[QUEUE, OTHER_QUEUE]).await;
        bundle
    }

    pub(super) async fn ensure(&self, queues: &[&str]) {
        let queues: Vec<Arc<str>> = queues.iter().map(|queue| (*queue).into()).collect();
        self.queue.ensure(&queues).await.expect("ensure answers");
    }

    pub(super) async fn advance(&self, by: Duration) {
        self.fixture.advance(by).await;
    }

    pub(super) async fn push(&self, hints: &[Hint]) {
        self.queue.push(hints).await.expect("push answers");
    }

    pub(super) async fn receive_by(&self, want: &[Want], wait: Duration) -> Vec<Delivery> {
        self.queue
            .receive(want, wait)
            .await
            .expect("receive answers")
    }

    /// Receives from the usual queue until `n` hints have come, or no more come.
    pub(super) async fn receive(&self, n: usize) -> Vec<Delivery> {
        let mut all = Vec::new();
        while all.len() < n {
            let some = self.receive_by(&[want(QUEUE, n - all.len())], SOON).await;
            if some.is_empty() {
                break;
            }
            all.extend(some);
        }
        all
    }

    /// Whether no hint waits in the usual queue.
    pub(super) async fn is_empty(&self) -> bool {
        self.receive_by(&[want(QUEUE, 10)], SOON).await.is_empty()
    }

    pub(super) async fn ack(&self, receipts: &[Receipt]) {
        self.queue.ack(receipts).await.expect("ack answers");
    }

    pub(super) async fn nack(&self, receipts: &[Receipt], after: Duration) {
        self.queue
            .nack(receipts, after)
            .await
            .expect("nack answers");
    }

    pub(super) async fn depth(&self, queue: &str) -> u64 {
        self.queue.depth(queue).await.expect("depth answers")
    }
}
