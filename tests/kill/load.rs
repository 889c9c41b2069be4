//! The load: a producer with a steady pace, and one that keeps a backlog.

use std::{ops::Range, path::PathBuf, sync::Arc, time::Duration};

use bgjob::{JobId, prelude::*};

use crate::{
    ledger::{Backlog, Ledger, Tail},
    worker::{Work, work},
};

const EVERY: Duration = Duration::from_millis(100);

/// How long it takes to enqueue so many.
pub(crate) fn span(jobs: u64, pace: u64) -> Duration {
    EVERY * u32::try_from(jobs / pace).expect("a run has an end")
}

/// Enqueues pieces of work from this number on, as long as more are wanted.
pub(crate) async fn produce(
    jobs: JobManager,
    ledger: Arc<Ledger>,
    mut next: u64,
    more: impl Fn(u64) -> bool,
    pace: u64,
) {
    let mut tick = tokio::time::interval(EVERY);
    while more(next) {
        tick.tick().await;
        let pieces = (next..next + pace).take_while(|n| more(*n)).count() as u64;
        next = enqueue(&jobs, &ledger, next..next + pieces).await;
    }
}

/// Enqueues pieces of work from this number on, so that so many always wait for somebody to begin
/// them, as long as that is wanted. There are never more than have been begun and so many.
pub(crate) async fn pile(
    jobs: JobManager,
    ledger: Arc<Ledger>,
    folder: PathBuf,
    mut next: u64,
    more: impl Fn() -> bool,
    depth: u64,
) {
    let mut tail = Tail::new(&folder);
    let mut backlog = Backlog::default();
    let mut tick = tokio::time::interval(EVERY);
    while more() {
        tick.tick().await;
        tail.more().iter().for_each(|line| backlog.hear(line));
        let lack = depth.saturating_sub(backlog.depth() as u64);
        next = enqueue(&jobs, &ledger, next..next + lack).await;
    }
}

/// Enqueues these and notes what the store acknowledged. Answers which is next: what it did not
/// acknowledge is tried again under the same ids.
async fn enqueue(jobs: &JobManager, ledger: &Ledger, pieces: Range<u64>) -> u64 {
    let work: Vec<_> = pieces.clone().map(Work::number).collect();
    let sent = work::enqueue_all(jobs, work).id_by(|w| JobId::from_key(&w.key));
    let Ok(handles) = sent.await else {
        return pieces.start;
    };
    for handle in handles {
        ledger.note("acked", handle.id(), 0);
    }
    ledger.sync();
    pieces.end
}
