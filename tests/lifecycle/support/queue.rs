//! [`FaultyQueue`]: an in-process queue that fails, or forgets, when told to.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bgjob::{
    JobQueue, Result, Want,
    providers::channel::ChannelQueue,
    queue::{Delivery, Hint, QueueCapabilities, Receipt},
};

use super::{Call, Faults};

#[derive(Debug, Clone)]
pub(crate) struct FaultyQueue {
    inner: Arc<ChannelQueue>,
    pub(crate) faults: Faults,
}

impl FaultyQueue {
    pub(crate) fn new(inner: ChannelQueue) -> Self {
        Self {
            inner: Arc::new(inner),
            faults: Faults::none(),
        }
    }

    /// Forgets every hint of a queue; answers how many there were.
    pub(crate) async fn wipe(&self, queue: &str) -> usize {
        let queue = queue.into();
        let want = [Want { queue, max: 1000 }];
        let all = self.inner.receive(&want, Duration::ZERO).await.unwrap();
        let receipts: Vec<_> = all.iter().map(|d| d.receipt.clone()).collect();
        self.inner.ack(&receipts).await.unwrap();
        receipts.len()
    }
}

#[async_trait]
impl JobQueue for FaultyQueue {
    fn capabilities(&self) -> QueueCapabilities {
        self.inner.capabilities()
    }

    async fn ensure(&self, queues: &[Arc<str>]) -> Result<()> {
        self.faults
            .call(Call::Ensure, self.inner.ensure(queues))
            .await
    }

    async fn push(&self, hints: &[Hint]) -> Result<()> {
        self.faults.call(Call::Push, self.inner.push(hints)).await
    }

    async fn receive(&self, want: &[Want], wait: Duration) -> Result<Vec<Delivery>> {
        self.faults
            .call(Call::Receive, self.inner.receive(want, wait))
            .await
    }

    async fn ack(&self, receipts: &[Receipt]) -> Result<()> {
        self.faults.call(Call::Ack, self.inner.ack(receipts)).await
    }

    async fn nack(&self, receipts: &[Receipt], after: Duration) -> Result<()> {
        self.faults
            .call(Call::Nack, self.inner.nack(receipts, after))
            .await
    }

    async fn depth(&self, queue: &str) -> Result<u64> {
        self.inner.depth(queue).await
    }
}
