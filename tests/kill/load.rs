//! The load: a producer with a steady pace.

use std::{sync::Arc, time::Duration};

use bgjob::{JobId, prelude::*};

use crate::{
    ledger::Ledger,
    worker::{Work, work},
};

const EVERY: Duration = Duration::from_millis(100);

/// How long it takes to enqueue so many.
pub(crate) fn span(jobs: u64, pace: u64) -> Duration {
    EVERY * u32::try_from(jobs / pace).expect("a run has an end")
}

/// Enqueues pieces of work from this number on, as long as more are wanted, and notes what the
/// store acknowledged. What it did not is tried again under the same ids.
pub(crate) async fn produce(
    jobs: JobManager,
    ledger: Arc<Ledger>,
    mut next: u64,
    more: impl Fn(u64) -> bool,
    pace: u64,
) {
    let mut tick = tokio::time::interval(EVERY);
    loop {
        tick.tick().await;
        let pieces = (next..next + pace).take_while(|n| more(*n));
        let work: Vec<_> = pieces.map(Work::number).collect();
        if work.is_empty() {
            return;
        }
        let end = next + work.len() as u64;
        let sent = work::enqueue_all(&jobs, work).id_by(|w| JobId::from_key(&w.key));
        if let Ok(handles) = sent.await {
            for handle in handles {
                ledger.note("acked", handle.id(), 0);
            }
            ledger.sync();
            next = end;
        }
    }
}
