//! How ends are recorded: what a store is told and what it answers; and [`Recording`], which does
//! that with many while the next jobs are claimed.

use std::{
    future::{Future, pending, poll_fn},
    pin::{Pin, pin},
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll},
};

use super::{
    core::{Core, Phase},
    ends::{Batch, Ended},
};
use crate::{
    Result,
    events::Event,
    extract::Held,
    job::{End, limits},
    manager::push,
    queue::Hint,
    store::{Ending, Finished},
};

/// So many ends are not made to wait for a claim that is on its way.
const FULL: usize = limits::BATCH / 2;

type Call = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

/// One call at a time, driven by whoever waits here.
pub(super) struct Recording {
    core: Arc<Core>,
    /// So many ends are worth a call of their own; `None`: no number is.
    worth: Option<usize>,
    call: Option<Call>,
}

impl Recording {
    pub(super) fn new(core: Arc<Core>) -> Self {
        let worth = core.store.capabilities().finish_beside;
        Self {
            core,
            worth,
            call: None,
        }
    }

    /// Whether a call is on its way.
    pub(super) fn is_open(&self) -> bool {
        self.call.is_some()
    }

    /// Whether these are worth a call of their own. Not where one has failed to record them: it is
    /// the loop that finds out which of them the store refuses.
    pub(super) fn is_worth(&self, ends: &Batch) -> bool {
        self.worth.is_some_and(|worth| ends.len() >= worth.max(1)) && !ends.is_repeated()
    }

    /// Sends a call, once none is on its way, and more while there are full batches to send.
    pub(super) fn begin(&mut self, mut ends: Batch) {
        assert!(self.call.is_none(), "what is on its way would be dropped");
        let core = Arc::clone(&self.core);
        self.call = Some(Box::pin(async move {
            loop {
                let endings = ends.endings();
                let answers = core.store_call(|| finish(&core, &endings)).await?;
                settle(&core, ends, &answers).await;
                if core.ends.len() < FULL {
                    return Ok(());
                }
                ends = core.ends.take(limits::BATCH);
            }
        }));
    }

    /// Returns when the call on its way is over; never where there is none. Cancel-safe.
    pub(super) async fn over(&mut self) {
        if poll_fn(|cx| self.poll(cx)).await.is_none() {
            pending::<()>().await;
        }
    }

    /// Drives the call on its way until this other one is answered. Cancel-safe if that is.
    pub(super) async fn beside<T>(&mut self, other: impl Future<Output = T>) -> T {
        let mut other = pin!(other);
        poll_fn(|cx| {
            let _ = self.poll(cx);
            other.as_mut().poll(cx)
        })
        .await
    }

    /// `None`: there is none.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<()>> {
        let Some(call) = &mut self.call else {
            return Poll::Ready(None);
        };
        let answer = std::task::ready!(call.as_mut().poll(cx));
        self.call = None;
        match answer {
            Ok(()) => self.core.store_state.worked(),
            // The next call waits, if that fails too.
            Err(error) => _ = self.core.store_state.failed(&error),
        }
        Poll::Ready(Some(()))
    }
}

/// Tells the store of ends.
pub(super) async fn finish(core: &Core, endings: &[Ending]) -> Result<Vec<Finished>> {
    let answers = core.store.finish(endings).await?;
    check(endings, &answers);
    Ok(answers)
}

/// A store that answers otherwise has a bug.
pub(super) fn check(endings: &[Ending], answers: &[Finished]) {
    assert_eq!(endings.len(), answers.len(), "a store answers each end");
}

/// Takes in what the store answered to ends.
pub(super) async fn settle(core: &Core, ends: Batch, answers: &[Finished]) {
    let ends = ends.answered();
    for (ended, answer) in ends.iter().zip(answers) {
        core.recorded(&ended.held, &ended.end, *answer, ended.repeated);
    }
    hint(core, &ends).await;
}

/// Says of what was given back that it is there, so that it need not wait for the sweeper.
async fn hint(core: &Core, ends: &[Ended]) {
    let Some(queue) = &core.queue else {
        return;
    };
    let given_back = ends
        .iter()
        .filter(|ended| matches!(ended.end, End::Release));
    let hints: Vec<_> = given_back
        .map(|Ended { held, .. }| Hint {
            id: held.job.id,
            queue: Arc::clone(&held.job.spec.queue),
            priority: held.job.spec.priority,
        })
        .collect();
    push(queue.as_ref(), &hints, &core.events).await;
}

impl Core {
    /// The end of an attempt is recorded, or lost: it is held no more.
    pub(super) fn recorded(&self, held: &Held, end: &End, answer: Finished, repeated: bool) {
        // Counted before it is let go of: a shutdown reports when nothing is held any more.
        if matches!(end, End::Release) {
            self.tally.released.fetch_add(1, Relaxed);
        } else if self.phase() >= Phase::Draining {
            self.tally.drained.fetch_add(1, Relaxed);
        }
        self.release(held);
        self.events.emit(Event::Recorded {
            job: &held.job,
            answer,
            repeated,
        });
        self.tell_death(held, end, answer);
        // It found no slot, and may be all there is for the next one that is free.
        if matches!(end, End::Release) && held.job.has_crashed() {
            self.look_again();
        }
    }
}
