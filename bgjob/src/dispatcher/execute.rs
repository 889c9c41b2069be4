//! One attempt, as one pipeline: start → run → (time-out, cancel) → end.
//!
//! The slot's task polls the handler itself. Timers and cancellation are armed only if the first
//! poll is pending, so a job that ends at once pays for neither.

use std::{
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, sleep, sleep_until};

use super::{
    config::Config,
    core::Core,
    lease::ask,
    middleware::{Middleware, Next},
    phases::ShutdownPhase,
    waits,
};
use crate::{
    CancelReason, Error, ErrorKind, JobContext, Json, Outcome,
    events::{Event, Events, Span},
    extract::{Commit, HeldJob, current},
    job::{End, Failure, FailureKind, Retry, limits},
    registry::JobDescriptor,
    store::{self, Finished},
    transaction,
};
use bgjob_core::panic_text;

/// How a handler ended.
enum Ran {
    /// It returned.
    Returned(Outcome<Json>),
    /// It panicked, with this message.
    Panicked(String),
    /// It was asked to end, did not end in time, and was dropped.
    Dropped,
}

/// How an attempt ended.
pub(super) enum Over {
    /// With this end, which is not recorded yet.
    Decided(End),
    /// With this end, which was sent in the handler's own transaction; the store's answer.
    Recorded(End, Finished),
    /// Without an end to record: the lease is lost.
    Abandoned,
    /// With an end that was already decided and reported while the handler could not be stopped.
    Stuck,
}

/// Runs one attempt.
pub(super) async fn run(core: &Core, held: &Arc<HeldJob>) -> Over {
    let started = Instant::now();
    // Never set before: a job is in one hand, and only one slot takes it out.
    let _ = held.started.set(started);
    core.events.emit(Event::AttemptStarted { job: &held.job });
    let span = Events::span(&held.job);
    let end = match core.served.descriptor(held) {
        Some(job) => {
            let ran = attempt(core, job, held, started, &span).await;
            to_end(core, ran, held, job)
        }
        // Only served jobs are claimed, so the store made a mistake; another worker may know this
        // job.
        None => Some(End::Release),
    };
    if !held.decide() {
        return Over::Stuck;
    }
    let end = end.map(|end| core.slowed(held, end));
    let over = match (end, held.transaction()) {
        (Some(End::Success(result)), Some(transaction)) if core.config.commit => {
            commit(core, held, result, transaction).await
        }
        // A transaction, if there is one, is dropped here and so rolled back.
        (Some(end), _) => Over::Decided(end),
        (None, _) => Over::Abandoned,
    };
    let end = match &over {
        Over::Decided(end) | Over::Recorded(end, _) => Some(end),
        Over::Abandoned | Over::Stuck => None,
    };
    core.tell_end(held, end, started.elapsed(), &span);
    over
}

/// Records a success in the handler's own transaction and commits it. If it is unknown whether the
/// commit worked, the attempt ends as an error: the store refuses that end if the commit worked.
async fn commit(core: &Core, held: &HeldJob, result: Json, mut own: Box<dyn Commit>) -> Over {
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
            Over::Recorded(End::Success(result), answer)
        }
        Err(error) => {
            let errors = held.job.errors + 1;
            let job = core.served.descriptor(held);
            let jitter = core.config.jitter();
            let wait = job.map(|job| job.wait_of(&held.job.spec, errors, jitter));
            let end = End::Error {
                failure: Failure::from_error(FailureKind::Error, &error),
                retry: Retry::After(wait.unwrap_or_default()),
            };
            Over::Decided(core.slowed(held, end))
        }
    }
}

/// How long the attempt may take: its time-out, or the time to the job's deadline if that is
/// shorter.
pub(super) fn time_limit(held: &HeldJob, job: &JobDescriptor) -> Duration {
    let left = held
        .job
        .deadline_at
        .map(|deadline| deadline.since(held.job.claimed_at));
    let timeout = job.timeout_of(&held.job.spec);
    left.map_or(timeout, |left| left.min(timeout))
}

async fn attempt(
    core: &Core,
    job: &JobDescriptor,
    held: &Arc<HeldJob>,
    started: Instant,
    span: &Span,
) -> Ran {
    let wrap = core.served.around(&held.job.spec.queue);
    let mut running = Running::start(job, wrap, held, span);
    let first = poll_fn(|cx| Poll::Ready(running.poll(cx))).await;
    let ran = match first {
        Poll::Ready(ran) => ran,
        Poll::Pending => supervise(core, &mut running, held, started + time_limit(held, job)).await,
    };
    if job.is_blocking() && matches!(ran, Ran::Dropped) {
        outlast(core, &mut running, held, job, started).await;
    }
    running.drop_quietly().map_or(ran, Ran::Panicked)
}

/// Blocking code can't be dropped. Its end is recorded now, but its slot stays taken until the code
/// returns, so that never more blocking jobs run than there are slots.
async fn outlast(
    core: &Core,
    running: &mut Running<'_>,
    held: &Arc<HeldJob>,
    job: &JobDescriptor,
    started: Instant,
) {
    if let Some(end) = to_end(core, Ran::Dropped, held, job)
        && held.decide()
    {
        core.tell_end(held, Some(&end), started.elapsed(), running.span);
        stuck(core, held, end);
    }
    tokio::select! {
        biased;
        _ = poll_fn(|cx| running.poll(cx)) => {}
        () = core.phases.reached(ShutdownPhase::Releasing) => {}
    }
}

/// Queues the end of a handler that can't be stopped: its slot stays taken.
fn stuck(core: &Core, held: &Arc<HeldJob>, end: End) {
    core.tally.stuck.fetch_add(1, Relaxed);
    core.events.emit(Event::SlotStuck { job: &held.job });
    core.end(Arc::clone(held), end);
}

/// Waits for a handler that did not end at once. Asks the handler to end if there is a reason to,
/// and gives up on it after the grace period.
async fn supervise(core: &Core, running: &mut Running<'_>, held: &HeldJob, limit: Instant) -> Ran {
    let mut look_at = Instant::now() + waits::LOOK;
    let reason = loop {
        tokio::select! {
            biased;
            ran = poll_fn(|cx| running.poll(cx)) => return ran,
            () = held.token().cancelled() => {
                break held.reason().unwrap_or(CancelReason::Shutdown);
            }
            () = core.phases.reached(ShutdownPhase::Cancelling) => {
                ask(core, held, CancelReason::Shutdown);
                break held.reason().unwrap_or(CancelReason::Shutdown);
            }
            () = sleep_until(look_at.min(limit)) => waits::look(core, held).await,
        }
        if Instant::now() >= limit {
            ask(core, held, CancelReason::Timeout);
            break held.reason().unwrap_or(CancelReason::Timeout);
        }
        look_at += waits::LOOK;
    };
    let grace = match reason {
        CancelReason::LeaseLost => Duration::ZERO,
        CancelReason::Shutdown => core.config.cancel,
        _ => Config::GRACE,
    };
    tokio::select! {
        biased;
        ran = poll_fn(|cx| running.poll(cx)) => ran,
        () = sleep(grace) => Ran::Dropped,
        () = core.phases.reached(ShutdownPhase::Releasing) => Ran::Dropped,
    }
}

/// Maps how a handler ended to the end that the store records. No other place does that. `None`:
/// record nothing, the lease is lost.
fn to_end(core: &Core, ran: Ran, held: &HeldJob, job: &JobDescriptor) -> Option<End> {
    let errors = held.job.errors + 1;
    let backoff = || Retry::After(job.wait_of(&held.job.spec, errors, core.config.jitter()));
    let failed = |failure| {
        Some(End::Error {
            failure,
            retry: backoff(),
        })
    };
    let reason = held.reason();
    match (ran, reason) {
        // Another worker may have the job by now.
        (_, Some(CancelReason::LeaseLost)) => None,
        // A success counts even if the handler was asked to end meanwhile.
        (Ran::Returned(Outcome::Success(result)), _) => Some(End::success(result)),
        (Ran::Returned(Outcome::Snooze(delay)), _) => Some(End::Snooze(delay.min(limits::SPAN))),
        (Ran::Panicked(message), _) => failed(Failure::new(FailureKind::Panic, message)),
        (Ran::Returned(Outcome::Abort { failure, reason }), _) => Some(End::Error {
            failure,
            retry: Retry::Never(reason),
        }),
        // Interrupted by the shutdown: not an error of the job.
        (_, Some(CancelReason::Shutdown)) => Some(End::Release),
        (_, Some(CancelReason::Timeout)) => failed(timed_out(held, job)),
        (Ran::Dropped, _) => failed(Failure::new(FailureKind::Error, "cancelled")),
        (Ran::Returned(Outcome::Retry { failure, after }), _) => {
            let retry = after.map_or_else(backoff, |after| Retry::After(after.min(limits::SPAN)));
            Some(End::Error { failure, retry })
        }
    }
}

/// The error of an attempt that took too long.
pub(super) fn timed_out(held: &HeldJob, job: &JobDescriptor) -> Failure {
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

/// A handler at work. Its panics are caught, including those at its start and its drop.
struct Running<'a> {
    future: Option<Pin<Box<dyn Future<Output = Outcome<Json>> + Send + 'a>>>,
    span: &'a Span,
    /// The job. While the handler's code runs it is in the thread-local of `current` instead.
    current: Option<Arc<HeldJob>>,
    /// The message of a panic before the first poll.
    stillborn: Option<String>,
}

impl<'a> Running<'a> {
    fn start(
        job: &JobDescriptor,
        wrap: &'a [Arc<dyn Middleware>],
        held: &Arc<HeldJob>,
        span: &'a Span,
    ) -> Self {
        let context = JobContext::new(Arc::clone(held));
        let mut current = Some(Arc::clone(held));
        let start = || span.in_scope(|| Next::new(wrap, job.handler()).run(context));
        let start = || current::within(&mut current, start);
        let (future, stillborn) = match catch_unwind(AssertUnwindSafe(start)) {
            Ok(future) => (Some(future), None),
            Err(panic) => (None, Some(panic_text(&*panic))),
        };
        Self {
            future,
            span,
            current,
            stillborn,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ran> {
        if let Some(message) = self.stillborn.take() {
            return Poll::Ready(Ran::Panicked(message));
        }
        let future = self
            .future
            .as_mut()
            .expect("a handler is not polled after its end");
        let span = self.span;
        let poll = || span.in_scope(|| future.as_mut().poll(cx));
        let poll = || current::within(&mut self.current, poll);
        match catch_unwind(AssertUnwindSafe(poll)) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(outcome)) => Poll::Ready(Ran::Returned(outcome)),
            Err(panic) => Poll::Ready(Ran::Panicked(panic_text(&*panic))),
        }
    }

    /// Drops the handler. Returns the message if that panics.
    fn drop_quietly(mut self) -> Option<String> {
        let future = self.future.take();
        let span = self.span;
        let drop = || span.in_scope(|| drop(future));
        let drop = || current::within(&mut self.current, drop);
        catch_unwind(AssertUnwindSafe(drop))
            .err()
            .map(|panic| panic_text(&*panic))
    }
}
