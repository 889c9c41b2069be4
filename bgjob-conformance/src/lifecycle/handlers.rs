//! The jobs that the cases enqueue, and [`Place`], which records what runs in one dispatcher.
//!
//! The jobs don't use the attribute, which would link them into every program that depends on this
//! crate.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Barrier, watch},
    time::sleep,
};

use bgjob::{
    Backoff, FromContext, JobContext, JobId, Json, Outcome, Registry, State,
    job::{Failure, FailureKind},
    registry::JobDescriptor,
};

/// Returns its metadata.
static ECHO: JobDescriptor = JobDescriptor::new("echo", |ctx| {
    Box::pin(async move {
        Place::of(&ctx).await;
        Outcome::Success(ctx.metadata().clone())
    })
});

/// Fails as many times as its metadata says.
static FLAKY: JobDescriptor = JobDescriptor::new("flaky", |ctx| {
    Box::pin(async move {
        Place::of(&ctx).await;
        match ctx.metadata().decode::<u32>() {
            Ok(failures) if ctx.attempt() > failures => Outcome::Success(Json::null()),
            _ => failed("as it was told to"),
        }
    })
})
.with_backoff(Backoff::constant(Duration::from_millis(50)));

/// Ends when the gate of its place is open. Returns the place's name.
static GATED: JobDescriptor = JobDescriptor::new("gated", |ctx| {
    Box::pin(async move {
        let place = Place::of(&ctx).await;
        let mut gate = place.gate.subscribe();
        gate.wait_for(|open| *open).await.expect("a place stays");
        place.named()
    })
});

/// Ends when another job of its kind runs. Returns the place's name.
static MEET: JobDescriptor = JobDescriptor::new("meet", |ctx| {
    Box::pin(async move {
        let place = Place::of(&ctx).await;
        place.two.wait().await;
        place.named()
    })
});

/// Ends when it is cancelled.
static OBEDIENT: JobDescriptor = JobDescriptor::new("obedient", |ctx| {
    Box::pin(async move {
        Place::of(&ctx).await;
        ctx.cancelled().await;
        failed("it was asked to end")
    })
});

/// Takes long enough that no such job is fetched far ahead.
static SLOW: JobDescriptor = JobDescriptor::new("slow", |ctx| {
    Box::pin(async move {
        Place::of(&ctx).await;
        sleep(Duration::from_millis(20)).await;
        Outcome::Success(Json::null())
    })
});

pub(super) fn registry() -> Registry {
    [&ECHO, &FLAKY, &GATED, &MEET, &OBEDIENT, &SLOW]
        .into_iter()
        .fold(Registry::new(), Registry::with_descriptor)
}

fn failed(why: &str) -> Outcome<Json> {
    Outcome::Retry {
        failure: Failure::new(FailureKind::Error, why),
        after: None,
    }
}

/// Where the handlers of one dispatcher run.
pub(super) struct Place {
    name: &'static str,
    gate: watch::Sender<bool>,
    /// One barrier for all places.
    two: Arc<Barrier>,
    starts: watch::Sender<Vec<Start>>,
}

/// An attempt that began.
struct Start {
    job: JobId,
    early: bool,
    /// How long the job had been due.
    late: Duration,
}

impl Place {
    pub(super) fn new(name: &'static str, two: Arc<Barrier>) -> Self {
        Self {
            name,
            gate: watch::Sender::new(false),
            two,
            starts: watch::Sender::new(Vec::new()),
        }
    }

    /// The place of this attempt. Also records that the attempt began.
    async fn of(ctx: &JobContext) -> State<Self> {
        let place = State::<Self>::from_context(ctx).await;
        let place = place.expect("every dispatcher of the suite has one");
        let start = Start {
            job: ctx.id(),
            early: ctx.claimed_at() < ctx.due_at(),
            late: ctx.claimed_at().since(ctx.due_at()),
        };
        place.starts.send_modify(|starts| starts.push(start));
        place
    }

    fn named(&self) -> Outcome<Json> {
        Outcome::Success(Json::encode(self.name).expect("a name is JSON"))
    }

    /// Opens the gate, for jobs that wait at it and for later ones.
    pub(super) fn open(&self) {
        self.gate.send_replace(true);
    }

    /// Waits until an attempt of the job has begun here.
    pub(super) async fn started(&self, job: JobId) {
        let mut starts = self.starts.subscribe();
        let started = starts.wait_for(|starts| starts.iter().any(|start| start.job == job));
        started.await.expect("a place stays");
    }

    /// How many attempts of the job began here.
    pub(super) fn starts(&self, job: JobId) -> usize {
        let starts = self.starts.borrow();
        starts.iter().filter(|start| start.job == job).count()
    }

    /// The jobs of all attempts, in the order in which they began.
    pub(super) fn order(&self) -> Vec<JobId> {
        let starts = self.starts.borrow();
        starts.iter().map(|start| start.job).collect()
    }

    /// The shortest delay between a job's due time and its start.
    pub(super) fn least_late(&self) -> Option<Duration> {
        let starts = self.starts.borrow();
        starts.iter().map(|start| start.late).min()
    }

    /// The jobs with an attempt that began before they were due.
    pub(super) fn early(&self) -> Vec<JobId> {
        let starts = self.starts.borrow();
        let early = starts.iter().filter(|start| start.early);
        early.map(|start| start.job).collect()
    }
}
