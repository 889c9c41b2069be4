//! Slots: long-lived tasks that each run one job after the other. The way of one attempt, from the
//! hand to its end, is in this file.
//!
//! ```text
//!   take ──► may_start ──► run ──► settle ──┬─► Decided: the fetch loop records the end
//!                │          │               ├─► Recorded: in the handler's own transaction
//!                │          │               ├─► Abandoned: the lease is lost, nothing is recorded
//!                │          │               └─► Stuck: the end was decided before
//!                │          │
//!                │          └─ blocking code that can't be dropped: its end is decided and queued
//!                │             at once, the slot waits for the code (`outlast`)
//!                └─ not started: Abandoned (lease lost) or Decided (given back)
//! ```
//!
//! An end is decided once ([`HeldJob::decide`]), by whoever is first: `settle`, `outlast`, the
//! lease loop for a handler that blocks its thread ([`end_of_blocked`]), or the dispatcher for a
//! job that it gives back.

use std::{
    future::poll_fn,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::Poll,
    time::Duration,
};

use tokio::time::Instant;

use super::{
    core::Core,
    hand::{Hand, NextJob},
    handler::{HandlerExit, RunningHandler, ask_to_end, supervise, time_limit},
    phases::ShutdownPhase,
    record::recorded,
    told::tell_end,
};
use crate::{
    CancelReason, Error, ErrorKind, Json, Outcome,
    events::{Event, Events, Span},
    extract::{Commit, HeldJob},
    job::{End, Failure, FailureKind, Retry, limits},
    registry::JobDescriptor,
    store::{self, Finished},
    transaction,
};

/// Runs jobs of one queue until the hand closes.
pub(super) async fn slot(core: Arc<Core>, hand: Arc<Hand>) {
    while let Some(held) = take(&core, &hand).await {
        let started = Instant::now();
        let settled = match may_start(&core, &held, started) {
            Ok(()) => {
                let _in_slot = InSlot(&held);
                let settled = attempt(&core, &held).await;
                hand.done(started.elapsed());
                settled
            }
            Err(end) => {
                hand.left();
                unstarted(&held, end)
            }
        };
        hand_over(&core, held, settled);
        if hand.has_room() {
            core.bells.ring_receive();
        }
        // Otherwise jobs that end at once would never let another task of this thread run.
        tokio::task::consume_budget().await;
    }
}

/// Waits for the next job. `None`: the hand has closed.
async fn take(core: &Core, hand: &Hand) -> Option<Arc<HeldJob>> {
    let NextJob { held, few_left } = hand.next().await?;
    if few_left {
        core.bells.ring_both();
    }
    Some(held)
}

/// Whether to start a job that waited in the hand. Not if the job was cancelled meanwhile, and not
/// if its lease may have ended: another worker may have run the job to its end by now. The error is
/// the end to record; `None`: record nothing.
fn may_start(core: &Core, held: &HeldJob, now: Instant) -> Result<(), Option<End>> {
    if now.duration_since(held.good()) >= core.config.fence_at() {
        ask_to_end(core, held, CancelReason::LeaseLost);
    }
    match held.reason() {
        None => Ok(()),
        Some(CancelReason::LeaseLost) => Err(None),
        Some(_) => Err(Some(End::Release)),
    }
}

/// A job in a slot. Dropped after its handler, even if the whole slot is dropped.
struct InSlot<'a>(&'a HeldJob);

impl Drop for InSlot<'_> {
    fn drop(&mut self) {
        self.0.let_go();
    }
}

/// What is recorded of an attempt.
pub(super) enum Settled {
    /// This end, which is not recorded yet.
    Decided(End),
    /// This end, which was sent in the handler's own transaction; the store's answer.
    Recorded(End, Finished),
    /// Nothing: the lease is lost.
    Abandoned,
    /// An end that was already decided and reported while the handler could not be stopped.
    Stuck,
}

/// Runs the handler and settles how the attempt ended.
pub(super) async fn attempt(core: &Core, held: &Arc<HeldJob>) -> Settled {
    let started = Instant::now();
    // Never set before: a job is in one hand, and only one slot takes it out.
    let _ = held.started.set(started);
    core.events.emit(Event::AttemptStarted { job: &held.job });
    let span = Events::span(&held.job);
    let job = core.served.descriptor(held);
    let ran = match job {
        Some(job) => Some((run(core, job, held, started, &span).await, job)),
        None => None,
    };
    settle(core, held, ran, started, &span).await
}

/// Runs the handler. The timers and the cancellation are armed only if its first poll is pending,
/// so a job that ends at once pays for neither.
async fn run(
    core: &Core,
    job: &JobDescriptor,
    held: &Arc<HeldJob>,
    started: Instant,
    span: &Span,
) -> HandlerExit {
    let around = core.served.around(&held.job.spec.queue);
    let mut handler = RunningHandler::start(job, around, held, span);
    let first = poll_fn(|cx| Poll::Ready(handler.poll(cx))).await;
    let exit = match first {
        Poll::Ready(exit) => exit,
        Poll::Pending => supervise(core, &mut handler, held, started + time_limit(held, job)).await,
    };
    if job.is_blocking() && matches!(exit, HandlerExit::Dropped) {
        outlast(core, &mut handler, held, job, started).await;
    }
    handler.drop_quietly().map_or(exit, HandlerExit::Panicked)
}

/// Blocking code can't be dropped. Its end is recorded now, but its slot stays taken until the code
/// returns, so that never more blocking jobs run than there are slots.
async fn outlast(
    core: &Core,
    handler: &mut RunningHandler<'_>,
    held: &Arc<HeldJob>,
    job: &JobDescriptor,
    started: Instant,
) {
    if let Some(end) = end_of(core, HandlerExit::Dropped, held, job)
        && held.decide()
    {
        tell_end(core, held, Some(&end), started.elapsed(), handler.span);
        core.tally.stuck.fetch_add(1, Relaxed);
        core.events.emit(Event::SlotStuck { job: &held.job });
        core.end(Arc::clone(held), end);
    }
    tokio::select! {
        biased;
        _ = poll_fn(|cx| handler.poll(cx)) => {}
        () = core.phases.reached(ShutdownPhase::Releasing) => {}
    }
}

/// Decides what is recorded of an attempt whose handler has ended.
async fn settle(
    core: &Core,
    held: &HeldJob,
    ran: Option<(HandlerExit, &JobDescriptor)>,
    started: Instant,
    span: &Span,
) -> Settled {
    let end = match ran {
        Some((exit, job)) => end_of(core, exit, held, job),
        // Only served jobs are claimed, so the store made a mistake; another worker may know this
        // job.
        None => Some(End::Release),
    };
    if !held.decide() {
        return Settled::Stuck;
    }
    let end = end.map(|end| slowed(core, held, end));
    let settled = match (end, held.transaction()) {
        (Some(End::Success(result)), Some(transaction)) if core.config.commit => {
            commit(core, held, result, transaction).await
        }
        // A transaction, if there is one, is dropped here and so rolled back.
        (Some(end), _) => Settled::Decided(end),
        (None, _) => Settled::Abandoned,
    };
    let end = match &settled {
        Settled::Decided(end) | Settled::Recorded(end, _) => Some(end),
        Settled::Abandoned | Settled::Stuck => None,
    };
    tell_end(core, held, end, started.elapsed(), span);
    settled
}

/// What is recorded of a job that was not started.
fn unstarted(held: &HeldJob, end: Option<End>) -> Settled {
    match (held.decide(), end) {
        (false, _) => Settled::Stuck,
        (true, Some(end)) => Settled::Decided(end),
        (true, None) => Settled::Abandoned,
    }
}

/// The end that the store records for a handler that ended like this. `None`: record nothing, the
/// lease is lost.
fn end_of(core: &Core, exit: HandlerExit, held: &HeldJob, job: &JobDescriptor) -> Option<End> {
    let backoff = || Retry::After(backoff(core, held, job));
    let failed = |failure| {
        Some(End::Error {
            failure,
            retry: backoff(),
        })
    };
    match (exit, held.reason()) {
        // Another worker may have the job by now.
        (_, Some(CancelReason::LeaseLost)) => None,
        // A success counts even if the handler was asked to end meanwhile.
        (HandlerExit::Returned(Outcome::Success(result)), _) => Some(End::success(result)),
        (HandlerExit::Returned(Outcome::Snooze(delay)), _) => {
            Some(End::Snooze(delay.min(limits::SPAN)))
        }
        (HandlerExit::Panicked(message), _) => failed(Failure::new(FailureKind::Panic, message)),
        (HandlerExit::Returned(Outcome::Abort { failure, reason }), _) => Some(End::Error {
            failure,
            retry: Retry::Never(reason),
        }),
        // Interrupted by the shutdown: not an error of the job.
        (_, Some(CancelReason::Shutdown)) => Some(End::Release),
        (_, Some(CancelReason::Timeout)) => failed(timed_out(held, job)),
        (HandlerExit::Dropped, _) => failed(Failure::new(FailureKind::Error, "cancelled")),
        (HandlerExit::Returned(Outcome::Retry { failure, after }), _) => {
            let retry = after.map_or_else(backoff, |after| Retry::After(after.min(limits::SPAN)));
            Some(End::Error { failure, retry })
        }
    }
}

/// The end of a handler that blocks its thread past its time limit, so that its slot can't end it.
pub(super) fn end_of_blocked(core: &Core, held: &HeldJob, job: &JobDescriptor) -> End {
    End::Error {
        retry: Retry::After(backoff(core, held, job)),
        failure: timed_out(held, job),
    }
}

/// How long a job waits after the error of this attempt.
pub(super) fn backoff(core: &Core, held: &HeldJob, job: &JobDescriptor) -> Duration {
    job.wait_of(&held.job.spec, held.job.errors + 1, core.config.jitter())
}

/// The error of an attempt that took too long.
fn timed_out(held: &HeldJob, job: &JobDescriptor) -> Failure {
    let limit = time_limit(held, job);
    let what = if limit < job.timeout_of(&held.job.spec) {
        "deadline"
    } else {
        "timeout"
    };
    let mut text = format!("not done within its {what} ({limit:?})");
    if let Some(on) = held.blocked_on.get() {
        text = format!("{text}: it waited for the job {on}, which found no free slot");
    }
    Failure::new(FailureKind::Timeout, text)
}

/// Returns the same end, but a job that was started more than [`limits::QUICK_STARTS`] times waits
/// at least [`limits::FLOOR`] before it runs again.
fn slowed(core: &Core, held: &HeldJob, mut end: End) -> End {
    if held.job.fence <= limits::QUICK_STARTS {
        return end;
    }
    let wait = match &mut end {
        End::Snooze(wait) => wait,
        End::Error {
            retry: Retry::After(wait),
            ..
        } if held.job.errors + 1 < held.job.spec.max_attempts => wait,
        _ => return end,
    };
    if *wait < limits::FLOOR {
        *wait = limits::FLOOR;
        let first = core.tally.slow(&held.job.spec.name);
        let job = &held.job;
        core.events.emit(Event::Slowed { job, first });
    }
    end
}

/// Records a success in the handler's own transaction and commits it. If it is unknown whether the
/// commit worked, the attempt ends as an error: the store refuses that end if the commit worked.
async fn commit(core: &Core, held: &HeldJob, result: Json, mut own: Box<dyn Commit>) -> Settled {
    let (id, token, sent) = (held.job.id, held.job.token, &result);
    let committed = core.store.call(|store| async move {
        let statement = store::in_transactions(store)?.succeed(id, token, sent)?;
        let answer = transaction::run(&mut *own, &statement).await?;
        let answer = store::finished(&answer)?;
        if matches!(answer, Finished::Applied(_)) {
            let text = "the job's transaction could not be committed";
            let failed = |cause| Error::new(ErrorKind::Unavailable, text).because(cause);
            own.commit().await.map_err(failed)?;
        }
        Ok(answer)
    });
    match committed.await {
        Ok(answer) => {
            // The success is committed, even if this call fails.
            let _ =
                core.store
                    .call(|store| async move {
                        store::in_transactions(store).map(|own| own.succeeded(id))
                    })
                    .await;
            Settled::Recorded(End::Success(result), answer)
        }
        Err(error) => {
            let wait = core
                .served
                .descriptor(held)
                .map(|job| backoff(core, held, job));
            let end = End::Error {
                failure: Failure::from_error(FailureKind::Error, &error),
                retry: Retry::After(wait.unwrap_or_default()),
            };
            Settled::Decided(slowed(core, held, end))
        }
    }
}

/// Hands the end over to be recorded, or releases the job at once if there is none to record.
fn hand_over(core: &Core, held: Arc<HeldJob>, settled: Settled) {
    match settled {
        Settled::Decided(end) => return core.end(held, end),
        Settled::Recorded(end, answer) => recorded(core, &held, &end, answer, false),
        // The slot is free again only now.
        Settled::Stuck => _ = core.tally.stuck.fetch_sub(1, Relaxed),
        Settled::Abandoned => core.release(&held),
    }
    core.bells.ring_fetch();
}
