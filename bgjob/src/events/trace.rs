//! Writes events to `tracing`: one line per event, at a level that says how much it matters to an
//! operator.

use std::time::Duration;

pub(crate) use tracing::Span;
use tracing::{Level, debug, error, field::Empty, info, warn};

use super::{
    Event, Fate, Verdict,
    words::{OneLine, Words},
};
use crate::{
    job::{ClaimedJob, DeadReason, Failure},
    store::Finished,
};

/// Settings for the lines that go to `tracing`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Voice<'a> {
    /// The worker's name, if there is one.
    pub(super) worker: Option<&'a str>,
    /// Whether the texts of handlers' errors may be logged.
    pub(super) errors: bool,
}

/// The span of one attempt. Its name is the same for all jobs, as span names are fixed at compile
/// time; an exporter to OpenTelemetry names it after the job.
pub(super) fn span(job: &ClaimedJob) -> Span {
    tracing::info_span!(
        target: "bgjob",
        "job",
        otel.name = &*job.spec.name,
        otel.kind = "consumer",
        otel.status_code = Empty,
        error.type = Empty,
        id = %job.id,
        name = &*job.spec.name,
        queue = &*job.spec.queue,
        // Exporters keep signed integers as numbers but turn unsigned ones into text.
        attempt = i64::from(job.errors) + 1,
        max_attempts = i64::from(job.spec.max_attempts),
        fence = i64::try_from(job.fence).unwrap_or(i64::MAX),
    )
}

/// Notes in the span of an attempt that it failed.
pub(super) fn mark(span: &Span, verdict: Verdict, failure: Option<&Failure>) {
    if verdict.is_error() {
        span.record("otel.status_code", "ERROR");
        span.record("error.type", kind(verdict, failure));
    }
}

/// The kind of the error, if the attempt ended in one.
fn kind(verdict: Verdict, failure: Option<&Failure>) -> Option<&'static str> {
    let other = verdict.is_error().then_some(verdict.as_str());
    failure.map(|failure| failure.kind.as_str()).or(other)
}

pub(super) fn is_heard(level: Level) -> bool {
    match level {
        Level::DEBUG => tracing::enabled!(target: "bgjob", Level::DEBUG),
        _ => tracing::enabled!(target: "bgjob", Level::ERROR),
    }
}

pub(super) fn trace(event: &Event<'_>, voice: Voice<'_>) {
    if !is_heard(Level::ERROR) {
        return;
    }
    match event {
        Event::Started { .. }
        | Event::PanicsAbort
        | Event::Draining { .. }
        | Event::Stopped { .. }
        | Event::Down { .. }
        | Event::Up { .. }
        | Event::RuntimeStalled { .. }
        | Event::CallPanicked { .. }
        | Event::LoopFailed { .. } => trace_dispatcher(event, voice),
        Event::AttemptStarted { .. }
        | Event::AttemptEnded { .. }
        | Event::Recorded { .. }
        | Event::CancelRequested { .. }
        | Event::SlotStuck { .. }
        | Event::WaitsForSlot { .. }
        | Event::WaitsForItself { .. }
        | Event::Slowed { .. } => trace_attempt(event, voice),
        Event::Created { jobs, name, queue } => {
            debug!(target: "bgjob", jobs, name, queue, "jobs stored");
        }
        Event::PushFailed { hints, error } => {
            let error = OneLine(error).cut();
            warn!(target: "bgjob", hints, error, "hints not pushed; the sweeper will give them");
        }
        Event::Claimed { jobs, via } => {
            debug!(target: "bgjob", jobs, via = via.as_str(), "jobs claimed");
        }
        Event::UpkeepFailed { step, error } => {
            let error = OneLine(error).cut();
            warn!(target: "bgjob", step, error, "upkeep failed; trying again");
        }
        Event::HintsDropped { hints } => debug!(target: "bgjob", hints, "hints dropped"),
        Event::Rehinted { hints } => debug!(target: "bgjob", hints, "jobs hinted at again"),
        Event::Purged { jobs } => debug!(target: "bgjob", jobs, "old jobs purged"),
        _ => trace_job(event, voice),
    }
}

/// Lines about the dispatcher, its store and its queue.
fn trace_dispatcher(event: &Event<'_>, Voice { worker, .. }: Voice<'_>) {
    match *event {
        Event::Started { jobs, .. } => {
            let (count, jobs) = (jobs.len(), jobs.join(", "));
            info!(target: "bgjob", worker, count, jobs, "dispatcher started");
        }
        Event::PanicsAbort => {
            warn!(target: "bgjob", "panic = \"abort\": a panic in a job ends the process");
        }
        Event::Draining { running } => info!(target: "bgjob", worker, running, "draining"),
        Event::Stopped {
            drained,
            released,
            unknown,
        } => {
            info!(target: "bgjob", worker, drained, released, unknown, "dispatcher stopped");
        }
        Event::Down { part, error } => {
            let error = OneLine(error).cut();
            error!(target: "bgjob", %part, error, "down; trying again");
        }
        Event::Up { part, after } => {
            let after = Words(after).to_string();
            info!(target: "bgjob", %part, after, "up again");
        }
        Event::RuntimeStalled { silent } => {
            let silent = Words(silent).to_string();
            error!(target: "bgjob", worker, silent, "runtime blocked: mark jobs that block");
        }
        Event::CallPanicked { part } => error!(target: "bgjob", %part, "a call panicked"),
        Event::LoopFailed { name } => error!(target: "bgjob", name, "a loop panicked; restarting"),
        _ => {}
    }
}

/// Lines about jobs outside an attempt of this dispatcher.
fn trace_job(event: &Event<'_>, voice: Voice<'_>) {
    match *event {
        Event::Revoked {
            id,
            name,
            queue,
            state,
        } => {
            let state = state.as_str();
            warn!(
                target: "bgjob", name, %id, queue, state,
                "job revoked: its worker no longer renews"
            );
        }
        Event::Expired {
            id,
            name,
            queue,
            reason,
        } => {
            let dead = reason.as_str();
            error!(
                target: "bgjob", name, %id, queue, dead,
                "job is dead: {}", because(reason)
            );
        }
        Event::Dead { job, announced } if !announced => {
            let (id, name, queue) = (job.id, &*job.name, &*job.queue);
            let (errors, crashes, dead) = (job.errors, job.crashes, job.reason.as_str());
            let failure = job.last_error.as_ref();
            let error = failure.filter(|_| voice.errors).map(|f| OneLine(f).cut());
            error!(
                target: "bgjob", name, %id, queue, errors, crashes, dead, error,
                "job is dead: {}", because(job.reason)
            );
        }
        Event::DeathsUntold { jobs } => {
            error!(target: "bgjob", jobs, "`on_dead` is too slow: not told of these deaths");
        }
        Event::Unserved {
            name,
            queue,
            jobs,
            waiting,
            advice,
        } => {
            let (name, waiting) = (OneLine(name).cut(), Words(waiting).to_string());
            warn!(target: "bgjob", name, queue, jobs, waiting, "nobody runs a due job: {advice}");
        }
        Event::Unreadable { id, error } => {
            let error = OneLine(error).cut();
            error!(target: "bgjob", %id, error, "a stored job can't be read");
        }
        _ => {}
    }
}

fn trace_attempt(event: &Event<'_>, voice: Voice<'_>) {
    match *event {
        Event::AttemptStarted { job } => {
            let (id, name, queue) = (job.id, &*job.spec.name, &*job.spec.queue);
            let (attempt, max_attempts, worker) =
                (job.errors + 1, job.spec.max_attempts, voice.worker);
            debug!(
                target: "bgjob", name, %id, queue, attempt, max_attempts, worker, "job started"
            );
        }
        Event::AttemptEnded {
            job,
            verdict,
            failure,
            fate,
            ran,
        } => trace_end(job, verdict, failure, fate, ran, voice),
        Event::Recorded {
            job,
            answer,
            repeated,
        } => {
            let answer = match answer {
                Finished::Applied(state) => state.as_str(),
                Finished::Lost => "lost",
            };
            debug!(target: "bgjob", id = %job.id, answer, repeated, "end recorded");
        }
        Event::CancelRequested { job, reason } => {
            let (id, name, queue) = (job.id, &*job.spec.name, &*job.spec.queue);
            info!(target: "bgjob", name, %id, queue, "job asked to end: {reason}");
        }
        Event::WaitsForSlot { job, on } => {
            let (id, name, queue) = (job.id, &*job.spec.name, &*job.spec.queue);
            warn!(
                target: "bgjob", name, %id, queue, %on,
                "job waits for another that finds no free slot",
            );
        }
        Event::WaitsForItself { job } => {
            let (id, name, queue) = (job.id, &*job.spec.name, &*job.spec.queue);
            warn!(
                target: "bgjob", name, %id, queue,
                "job awaits the end of the dispatcher that runs it: use `begin_shutdown`",
            );
        }
        Event::SlotStuck { job } => {
            let (id, name, queue) = (job.id, &*job.spec.name, &*job.spec.queue);
            error!(target: "bgjob", name, %id, queue, "job can't be stopped: its slot stays taken");
        }
        Event::Slowed { job, first, .. } if first => {
            let (id, name, queue, starts) = (job.id, &*job.spec.name, &*job.spec.queue, job.fence);
            warn!(
                target: "bgjob", name, %id, queue, starts,
                "job asks to run again at once, again and again: it waits 100 ms each time now; \
                 give it a backoff, or snooze for longer"
            );
        }
        _ => {}
    }
}

/// The one line of an attempt's end. It has all the facts itself, because spans may be filtered
/// out.
fn trace_end(
    job: &ClaimedJob,
    verdict: Verdict,
    failure: Option<&Failure>,
    fate: Fate,
    ran: Duration,
    voice: Voice<'_>,
) {
    let (id, name, queue) = (job.id, &*job.spec.name, &*job.spec.queue);
    let (attempt, max_attempts) = (job.errors + 1, job.spec.max_attempts);
    let (ran, worker) = (Words(ran).to_string(), voice.worker);
    let kind = kind(verdict, failure);
    let dead = match fate {
        Fate::Dead(reason) => Some(reason.as_str()),
        _ => None,
    };
    let error = failure.filter(|_| voice.errors).map(|f| OneLine(f).cut());
    // The level of a `tracing` line is fixed at compile time, so each level needs its own line.
    macro_rules! tell {
        ($level:ident, $($text:tt)+) => {
            $level!(
                target: "bgjob", name, %id, queue, attempt, max_attempts, ran, worker, dead, kind,
                error, $($text)+
            )
        };
    }
    match fate {
        Fate::Dead(reason) => tell!(error, "job failed, dead: {}", because(reason)),
        Fate::RetryIn(wait) => tell!(warn, "job failed, retry in {}", Words(wait)),
        Fate::Unknown => tell!(
            warn,
            "job abandoned: its lease was lost, another worker may have it"
        ),
        Fate::Cancelled => tell!(info, "job cancelled"),
        Fate::SnoozedFor(wait) => tell!(debug, "job snoozed for {}", Words(wait)),
        Fate::GivenBack => tell!(debug, "job given back"),
        Fate::Done => tell!(debug, "job done"),
    }
}

/// Why a job is dead, in words.
fn because(reason: DeadReason) -> &'static str {
    match reason {
        DeadReason::Errors => "no attempts left",
        DeadReason::Crashes => "its worker's process died with it too often",
        DeadReason::Aborted => "it was aborted by its handler",
        DeadReason::Decode => "its metadata can't be decoded",
        DeadReason::Expired => "it had not started when it expired",
        DeadReason::Deadline => "its deadline comes first",
        _ => "of a reason that this version does not know",
    }
}
