//! The load: a producer with a steady pace.

use std::{ops::Range, sync::Arc, time::Duration};

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

/// Enqueues these pieces of work and notes what the store acknowledged. What it did not is tried
/// again under the same ids.
pub(crate) async fn produce(jobs: JobManager, ledger: Arc<Ledger>, pieces: Range<u64>, pace: u64) {
    let mut tick = tokio::time::interval(EVERY);
    let mut next = pieces.start;
    while next < pieces.end {
        tick.tick().await;
        let end = pieces.end.min(next + pace);
        let work = (next..end).map(Work::number);
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
