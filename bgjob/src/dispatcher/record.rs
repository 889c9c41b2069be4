//! Records ends: the call to the store and what follows from its answers. [`Recording`] records
//! many ends while the next jobs are claimed.

use std::{
    future::{Future, pending, poll_fn},
    pin::{Pin, pin},
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll},
};

use super::{
    core::Core,
    ends::{EndBatch, PendingEnd},
    phases::ShutdownPhase,
    told::tell_death,
};
use crate::{
    JobStore, Result,
    events::Event,
    extract::HeldJob,
    job::{End, limits},
    manager::push,
    queue::Hint,
    store::{Ending, Finished},
};

/// This many waiting ends get another call at once instead of waiting for a claim.
const FULL: usize = limits::BATCH / 2;

type RecordCall = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

/// A call that records ends beside a claim, one at a time; polled by the caller that waits here.
pub(super) struct Recording {
    core: Arc<Core>,
    /// This many ends are worth a call of their own. `None`: never. A capability of the store.
    worth: Option<usize>,
    /// The call on its way: set by `begin`, cleared once it is over.
    call: Option<RecordCall>,
}

impl Recording {
    pub(super) fn new(core: Arc<Core>) -> Self {
        let worth = core.store.provider().capabilities().finish_beside;
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

    /// Whether these ends are worth a call of their own. Not if they were sent before: then the
    /// fetch loop has to find out which of them the store refuses.
    pub(super) fn is_worth(&self, ends: &EndBatch) -> bool {
        self.worth.is_some_and(|worth| ends.len() >= worth.max(1)) && !ends.is_repeated()
    }

    /// Begins a call that records these ends, and further ones while many wait. No other call may
    /// be on its way.
    pub(super) fn begin(&mut self, mut ends: EndBatch) {
        assert!(self.call.is_none(), "what is on its way would be dropped");
        let core = Arc::clone(&self.core);
        self.call = Some(Box::pin(async move {
            loop {
                let endings = ends.endings();
                let answers = core.store.call(|store| finish(store, &endings)).await?;
                settle(&core, ends, &answers).await;
                if core.ends.len() < FULL {
                    return Ok(());
                }
                ends = core.ends.take(limits::BATCH);
            }
        }));
    }

    /// Returns when the call on its way is over; never if there is none. Cancel-safe.
    pub(super) async fn over(&mut self) {
        if poll_fn(|cx| self.poll(cx)).await.is_none() {
            pending::<()>().await;
        }
    }

    /// Polls the call on its way until `other` is ready. Cancel-safe if `other` is.
    pub(super) async fn beside<T>(&mut self, other: impl Future<Output = T>) -> T {
        let mut other = pin!(other);
        poll_fn(|cx| {
            let _ = self.poll(cx);
            other.as_mut().poll(cx)
        })
        .await
    }

    /// Polls the call on its way. `None`: there is none.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<()>> {
        let Some(call) = &mut self.call else {
            return Poll::Ready(None);
        };
        let answer = std::task::ready!(call.as_mut().poll(cx));
        self.call = None;
        match answer {
            Ok(()) => self.core.store.worked(),
            // No wait here: the fetch loop waits if its next call fails too.
            Err(error) => _ = self.core.store.failed(&error),
        }
        Poll::Ready(Some(()))
    }
}

/// Sends ends to the store.
pub(super) async fn finish(store: &dyn JobStore, endings: &[Ending]) -> Result<Vec<Finished>> {
    let answers = store.finish(endings).await?;
    check(endings, &answers);
    Ok(answers)
}

/// Checks that there is one answer per end; anything else is a bug of the store.
pub(super) fn check(endings: &[Ending], answers: &[Finished]) {
    assert_eq!(endings.len(), answers.len(), "a store answers each end");
}

/// Processes the store's answers to a batch of ends.
pub(super) async fn settle(core: &Core, ends: EndBatch, answers: &[Finished]) {
    let ends = ends.answered();
    for (ended, answer) in ends.iter().zip(answers) {
        recorded(core, &ended.held, &ended.end, *answer, ended.repeated);
    }
    hint(core, &ends).await;
}

/// Pushes hints for jobs that were given back, so that they need not wait for the sweeper.
async fn hint(core: &Core, ends: &[PendingEnd]) {
    let Some(queue) = &core.queue else {
        return;
    };
    let given_back = ends
        .iter()
        .filter(|ended| matches!(ended.end, End::Release));
    let hints: Vec<_> = given_back
        .map(|PendingEnd { held, .. }| Hint::at(held.job.id, &held.job.spec))
        .collect();
    push(queue.provider(), &hints, &core.events).await;
}

/// The store has recorded the end of an attempt, or refused it because the lease is lost:
/// releases the job, counts and reports it.
pub(super) fn recorded(core: &Core, held: &HeldJob, end: &End, answer: Finished, repeated: bool) {
    // Counted before the release: the shutdown reports as soon as no job is held.
    if matches!(end, End::Release) {
        core.tally.released.fetch_add(1, Relaxed);
    } else if core.phases.now() >= ShutdownPhase::Draining {
        core.tally.drained.fetch_add(1, Relaxed);
    }
    core.release(held);
    core.events.emit(Event::Recorded {
        job: &held.job,
        answer,
        repeated,
    });
    tell_death(core, held, end, answer);
    // The job found no free slot here, and may be the only one left for the next free slot.
    if matches!(end, End::Release) && held.job.has_crashed() {
        core.bells.look_again();
    }
}
