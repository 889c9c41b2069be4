//! [`JobQueue`]: the contract of a queue service, which carries hints.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;

use crate::{JobId, JobSpec, Priority, Result};

/// Says that a job may be ready. A hint carries no truth: losing, doubling or reordering hints
/// costs time, never a job.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Hint {
    /// The job.
    pub id: JobId,
    /// The queue it waits in.
    pub queue: Arc<str>,
    /// How urgent it is. A queue without priorities ignores this.
    pub priority: Priority,
}

impl Hint {
    /// A hint at this job of this queue.
    pub fn new(id: JobId, queue: impl Into<Arc<str>>, priority: Priority) -> Self {
        Self {
            id,
            queue: queue.into(),
            priority,
        }
    }

    /// A hint at a job with this id and spec.
    pub fn at(id: JobId, spec: &JobSpec) -> Self {
        Self::new(id, Arc::clone(&spec.queue), spec.priority)
    }
}

/// A received hint, until it is acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Delivery {
    /// What was pushed.
    pub hint: Hint,
    /// Identifies this delivery to the queue.
    pub receipt: Receipt,
}

impl Delivery {
    /// A hint, and what the queue knows this delivery of it by.
    pub const fn new(hint: Hint, receipt: Receipt) -> Self {
        Self { hint, receipt }
    }
}

/// Identifies a delivery to its queue; opaque, at most 1 KiB.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Receipt(pub Vec<u8>);

/// How many jobs of a queue are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Want {
    /// The queue.
    pub queue: Arc<str>,
    /// At most this many jobs.
    pub max: usize,
}

impl Want {
    /// At most `max` jobs of this queue.
    pub fn new(queue: impl Into<Arc<str>>, max: usize) -> Self {
        Self {
            queue: queue.into(),
            max,
        }
    }
}

/// A queue service. It needs no lease, no order and no memory: a delivery is acknowledged as soon
/// as the job is claimed (or turned down), and the sweeper finds jobs whose hints were lost.
#[async_trait]
pub trait JobQueue: Send + Sync + fmt::Debug {
    /// What this queue can do. Constant for the life of the value.
    fn capabilities(&self) -> QueueCapabilities;

    /// Makes sure that these queues exist. Called at start and after errors, any number of times.
    async fn ensure(&self, queues: &[Arc<str>]) -> Result<()>;

    /// Pushes hints. An error means that some may not have been pushed.
    async fn push(&self, hints: &[Hint]) -> Result<()>;

    /// Receives at most `max` hints a queue, and waits at most `wait` for the first one. Cancel
    /// safe: hints that were not returned are delivered again.
    async fn receive(&self, want: &[Want], wait: Duration) -> Result<Vec<Delivery>>;

    /// Acknowledges deliveries, so that they are not delivered again. Unknown receipts are ignored.
    async fn ack(&self, receipts: &[Receipt]) -> Result<()>;

    /// Returns deliveries, to be delivered again after about this time. Unknown receipts are
    /// ignored.
    async fn nack(&self, receipts: &[Receipt], after: Duration) -> Result<()>;

    /// About how many hints wait in this queue.
    async fn depth(&self, queue: &str) -> Result<u64>;
}

/// A queue in an [`Arc`] is the same queue.
#[async_trait]
impl<Q: JobQueue + ?Sized> JobQueue for Arc<Q> {
    fn capabilities(&self) -> QueueCapabilities {
        (**self).capabilities()
    }

    async fn ensure(&self, queues: &[Arc<str>]) -> Result<()> {
        (**self).ensure(queues).await
    }

    async fn push(&self, hints: &[Hint]) -> Result<()> {
        (**self).push(hints).await
    }

    async fn receive(&self, want: &[Want], wait: Duration) -> Result<Vec<Delivery>> {
        (**self).receive(want, wait).await
    }

    async fn ack(&self, receipts: &[Receipt]) -> Result<()> {
        (**self).ack(receipts).await
    }

    async fn nack(&self, receipts: &[Receipt], after: Duration) -> Result<()> {
        (**self).nack(receipts, after).await
    }

    async fn depth(&self, queue: &str) -> Result<u64> {
        (**self).depth(queue).await
    }
}

/// What a queue can do.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueCapabilities {
    /// Its name, for messages.
    pub name: &'static str,
    /// More urgent hints are received first.
    pub priorities: bool,
    /// Hints pushed by one process are received by another.
    pub shared: bool,
}

impl QueueCapabilities {
    /// The capabilities of a queue of this name that can do everything; set fields for what it
    /// can't.
    pub const fn new(name: &'static str) -> Self {
        Self {
            name,
            priorities: true,
            shared: true,
        }
    }
}
