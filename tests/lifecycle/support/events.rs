//! [`Log`]: every event, kept, and waited for.

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use bgjob::{CancelReason, Event, JobId, JobState, Part, Verdict, Via, store::Finished};
use tokio::{sync::Notify, time::Instant};

use super::within;

/// An [`Event`] that can be kept.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum What {
    Started(Vec<String>),
    Created(usize),
    PushFailed(usize),
    Claimed(usize, Via),
    HintsDropped(usize),
    AttemptStarted(JobId),
    AttemptEnded(JobId, Verdict, Duration),
    Recorded(JobId, Finished, bool),
    CancelRequested(JobId, CancelReason),
    SlotStuck(JobId),
    WaitsForSlot(JobId, JobId),
    WaitsForItself(JobId),
    Revoked(JobId, JobState),
    Expired(JobId),
    Rehinted(usize),
    Purged(usize),
    UpkeepFailed(&'static str),
    Down(Part),
    Up(Part),
    Draining(usize),
    Stopped(usize, usize, usize),
    CallPanicked(Part),
    LoopFailed(&'static str),
    Other,
}

impl What {
    fn of(event: &Event<'_>) -> Self {
        match *event {
            Event::Started { jobs, .. } => {
                Self::Started(jobs.iter().map(|j| (*j).to_owned()).collect())
            }
            Event::Created { jobs, .. } => Self::Created(jobs),
            Event::PushFailed { hints, .. } => Self::PushFailed(hints),
            Event::Claimed { jobs, via } => Self::Claimed(jobs, via),
            Event::HintsDropped { hints } => Self::HintsDropped(hints),
            Event::AttemptStarted { job } => Self::AttemptStarted(job.id),
            Event::AttemptEnded {
                job, verdict, ran, ..
            } => Self::AttemptEnded(job.id, verdict, ran),
            Event::Recorded {
                job,
                answer,
                repeated,
            } => Self::Recorded(job.id, answer, repeated),
            Event::CancelRequested { job, reason } => Self::CancelRequested(job.id, reason),
            Event::SlotStuck { job } => Self::SlotStuck(job.id),
            Event::WaitsForSlot { job, on } => Self::WaitsForSlot(job.id, on),
            Event::WaitsForItself { job } => Self::WaitsForItself(job.id),
            Event::Revoked { id, state, .. } => Self::Revoked(id, state),
            Event::Expired { id, .. } => Self::Expired(id),
            Event::Rehinted { hints } => Self::Rehinted(hints),
            Event::Purged { jobs } => Self::Purged(jobs),
            Event::UpkeepFailed { step, .. } => Self::UpkeepFailed(step),
            Event::Down { part, .. } => Self::Down(part),
            Event::Up { part, .. } => Self::Up(part),
            Event::Draining { running } => Self::Draining(running),
            Event::Stopped {
                drained,
                released,
                unknown,
            } => Self::Stopped(drained, released, unknown),
            Event::CallPanicked { part } => Self::CallPanicked(part),
            Event::LoopFailed { name } => Self::LoopFailed(name),
            _ => Self::Other,
        }
    }

    /// The job it is about.
    pub(crate) fn job(&self) -> Option<JobId> {
        match self {
            Self::AttemptStarted(id)
            | Self::AttemptEnded(id, ..)
            | Self::Recorded(id, ..)
            | Self::CancelRequested(id, _)
            | Self::SlotStuck(id)
            | Self::WaitsForSlot(id, _)
            | Self::WaitsForItself(id)
            | Self::Revoked(id, _)
            | Self::Expired(id) => Some(*id),
            _ => None,
        }
    }
}

/// All events so far, with their times.
#[derive(Debug, Clone, Default)]
pub(crate) struct Log(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    seen: Mutex<Vec<(Instant, What)>>,
    news: Notify,
}

impl Log {
    pub(crate) fn listener(&self) -> impl Fn(&Event<'_>) + Send + Sync + 'static {
        let inner = Arc::clone(&self.0);
        move |event| {
            let seen = (Instant::now(), What::of(event));
            inner.seen.lock().unwrap().push(seen);
            inner.news.notify_waiters();
        }
    }

    fn seen(&self) -> MutexGuard<'_, Vec<(Instant, What)>> {
        self.0.seen.lock().unwrap()
    }

    /// How many there were of these.
    pub(crate) fn count(&self, of: impl Fn(&What) -> bool) -> usize {
        self.seen().iter().filter(|(_, what)| of(what)).count()
    }

    /// What happened to one job, in order.
    pub(crate) fn of(&self, id: JobId) -> Vec<What> {
        let seen = self.seen();
        let of = seen.iter().filter(|(_, what)| what.job() == Some(id));
        of.map(|(_, what)| what.clone()).collect()
    }

    /// When a job was started, each time.
    pub(crate) fn starts(&self, id: JobId) -> Vec<Instant> {
        let seen = self.seen();
        let starts = seen.iter().filter(|(_, w)| *w == What::AttemptStarted(id));
        starts.map(|(at, _)| *at).collect()
    }

    /// Waits until the first of these has happened; answers it, and when.
    pub(crate) async fn wait(&self, of: impl Fn(&What) -> bool) -> (Instant, What) {
        self.nth(1, of).await
    }

    /// Waits until this many of these have happened; answers the last of them.
    pub(crate) async fn nth(&self, n: usize, of: impl Fn(&What) -> bool) -> (Instant, What) {
        within(Duration::from_secs(86_400), async {
            loop {
                let news = self.0.news.notified();
                tokio::pin!(news);
                news.as_mut().enable();
                let found = self
                    .seen()
                    .iter()
                    .filter(|(_, w)| of(w))
                    .nth(n - 1)
                    .cloned();
                if let Some(found) = found {
                    return found;
                }
                news.await;
            }
        })
        .await
    }

    /// Waits until the job has been started this often.
    pub(crate) async fn started(&self, id: JobId, times: usize) -> Instant {
        self.nth(times, |w| *w == What::AttemptStarted(id)).await.0
    }

    /// Waits until the store has answered an end of the job.
    pub(crate) async fn recorded(&self, id: JobId) -> Finished {
        match self
            .wait(|w| matches!(w, What::Recorded(of, ..) if *of == id))
            .await
            .1
        {
            What::Recorded(_, answer, _) => answer,
            other => unreachable!("{other:?}"),
        }
    }
}
