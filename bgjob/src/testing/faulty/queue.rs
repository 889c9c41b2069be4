//! [`Faulty`] as a [`JobQueue`]. Besides the faults of any call, hints get lost and change their
//! order.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;

use super::{Call, Fault, Faulty, store::faulty, suffer};
use crate::{
    JobQueue, Result, Want,
    queue::{Delivery, Hint, QueueCapabilities, Receipt},
};

#[async_trait]
impl<Q: JobQueue + 'static> JobQueue for Faulty<Q> {
    fn capabilities(&self) -> QueueCapabilities {
        self.inner.capabilities()
    }

    async fn ensure(&self, queues: &[Arc<str>]) -> Result<()> {
        faulty!(self, Ensure, [queues], ensure(&queues))
    }

    async fn push(&self, hints: &[Hint]) -> Result<()> {
        let mut hints = hints.to_owned();
        let fault = self.faults.next(Call::Push);
        match fault {
            Fault::Lost => return Ok(()),
            Fault::Reorder => hints.reverse(),
            _ => {}
        }
        let inner = Arc::clone(&self.inner);
        suffer(fault, move || {
            let (inner, hints) = (Arc::clone(&inner), hints.clone());
            Box::pin(async move { inner.push(&hints).await })
        })
        .await
    }

    async fn receive(&self, want: &[Want], wait: Duration) -> Result<Vec<Delivery>> {
        let mut want = want.to_owned();
        let fault = self.faults.next(Call::Receive);
        if fault == Fault::Wipe {
            want.iter_mut().for_each(|want| want.max = usize::MAX);
        }
        let inner = Arc::clone(&self.inner);
        let mut deliveries = suffer(fault, move || {
            let (inner, want) = (Arc::clone(&inner), want.clone());
            Box::pin(async move { inner.receive(&want, wait).await })
        })
        .await?;
        match fault {
            Fault::Reorder => deliveries.reverse(),
            Fault::Lost | Fault::Wipe => {
                let receipts: Vec<_> = deliveries.drain(..).map(|d| d.receipt).collect();
                self.inner.ack(&receipts).await?;
            }
            _ => {}
        }
        Ok(deliveries)
    }

    async fn ack(&self, receipts: &[Receipt]) -> Result<()> {
        let fault = self.faults.next(Call::Ack);
        if fault == Fault::Lost {
            return Ok(());
        }
        let receipts = receipts.to_owned();
        let inner = Arc::clone(&self.inner);
        suffer(fault, move || {
            let (inner, receipts) = (Arc::clone(&inner), receipts.clone());
            Box::pin(async move { inner.ack(&receipts).await })
        })
        .await
    }

    async fn nack(&self, receipts: &[Receipt], after: Duration) -> Result<()> {
        faulty!(self, Nack, [receipts], nack(&receipts, after))
    }

    async fn depth(&self, queue: &str) -> Result<u64> {
        faulty!(self, Depth, [queue], depth(&queue))
    }
}
