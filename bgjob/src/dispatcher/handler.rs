//! [`RunningHandler`]: the user's code at work, and the reasons to end it.
//!
//! ```text
//!   start ──► polled by the slot's task ──► Returned, Panicked
//!                 │
//!                 │ asked to end: cancelled, time-out, shutdown, lease lost
//!                 ▼
//!             grace period ──► Returned, Panicked
//!                 │
//!                 └─ over ───► Dropped
//! ```

use std::{
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, sleep, sleep_until};

use super::{
    config::Config,
    core::Core,
    middleware::{Middleware, Next},
    phases::ShutdownPhase,
    waits,
};
use crate::{
    CancelReason, JobContext, Json, Outcome,
    events::{Event, Span},
    extract::{HeldJob, current},
    registry::JobDescriptor,
};
use bgjob_core::panic_text;

/// How a handler ended.
pub(super) enum HandlerExit {
    /// It returned.
    Returned(Outcome<Json>),
    /// It panicked, with this message.
    Panicked(String),
    /// It was asked to end, did not end in time, and was dropped.
    Dropped,
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

/// Asks a handler to end. Emits an event if this is the first reason.
pub(super) fn ask_to_end(core: &Core, held: &HeldJob, reason: CancelReason) {
    if held.cancel(reason) {
        core.events.emit(Event::CancelRequested {
            job: &held.job,
            reason,
        });
    }
}

/// Waits for a handler that did not end at once. Asks the handler to end if there is a reason to,
/// and gives up on it after the grace period.
pub(super) async fn supervise(
    core: &Core,
    handler: &mut RunningHandler<'_>,
    held: &HeldJob,
    limit: Instant,
) -> HandlerExit {
    let mut look_at = Instant::now() + waits::LOOK;
    let reason = loop {
        tokio::select! {
            biased;
            ran = poll_fn(|cx| handler.poll(cx)) => return ran,
            () = held.token().cancelled() => {
                break held.reason().unwrap_or(CancelReason::Shutdown);
            }
            () = core.phases.reached(ShutdownPhase::Cancelling) => {
                ask_to_end(core, held, CancelReason::Shutdown);
                break held.reason().unwrap_or(CancelReason::Shutdown);
            }
            () = sleep_until(look_at.min(limit)) => waits::look(core, held).await,
        }
        if Instant::now() >= limit {
            ask_to_end(core, held, CancelReason::Timeout);
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
        ran = poll_fn(|cx| handler.poll(cx)) => ran,
        () = sleep(grace) => HandlerExit::Dropped,
        () = core.phases.reached(ShutdownPhase::Releasing) => HandlerExit::Dropped,
    }
}

/// A handler at work. Its panics are caught, including those at its start and its drop.
pub(super) struct RunningHandler<'a> {
    future: Option<Pin<Box<dyn Future<Output = Outcome<Json>> + Send + 'a>>>,
    pub(super) span: &'a Span,
    /// The job. While the handler's code runs it is in the thread-local of `current` instead.
    current: Option<Arc<HeldJob>>,
    /// The message of a panic before the first poll.
    stillborn: Option<String>,
}

impl<'a> RunningHandler<'a> {
    pub(super) fn start(
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

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<HandlerExit> {
        if let Some(message) = self.stillborn.take() {
            return Poll::Ready(HandlerExit::Panicked(message));
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
            Ok(Poll::Ready(outcome)) => Poll::Ready(HandlerExit::Returned(outcome)),
            Err(panic) => Poll::Ready(HandlerExit::Panicked(panic_text(&*panic))),
        }
    }

    /// Drops the handler. Returns the message if that panics.
    pub(super) fn drop_quietly(mut self) -> Option<String> {
        let future = self.future.take();
        let span = self.span;
        let drop = || span.in_scope(|| drop(future));
        let drop = || current::within(&mut self.current, drop);
        catch_unwind(AssertUnwindSafe(drop))
            .err()
            .map(|panic| panic_text(&*panic))
    }
}
