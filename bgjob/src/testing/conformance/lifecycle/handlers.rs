//! What the cases enqueue, and [`Place`]: what its dispatcher lets it see and be seen.
//!
//! Written out instead of with the attribute, which would link them into every program that has the
//! feature `conformance`.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Barrier, watch},
    time::sleep,
};

use crate::{
    Backoff, FromContext, JobContext, JobId, Json, Outcome, Registry, State,
    job::{Failure, FailureKind},
    registry::JobDescriptor,
};

/// Returns what it is given.
static ECHO: JobDescriptor = JobDescriptor::new("echo", |ctx| {
    Box::pin(async move {
        Place::of(&ctx).await;
        Outcome::Success(ctx.metadata().clone())
    })
});

/// Fails as many times as it is told to.
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

/// Ends when its place's gate is open, with the name of the place.
static GATED: JobDescriptor = JobDescriptor::new("gated", |ctx| {
    Box::pin(async move {
        let place = Place::of(&ctx).await;
        let mut gate = place.gate.subscribe();
        gate.wait_for(|open| *open).await.expect("a place stays");
        place.named()
    })
});

/// Ends when another of its kind runs, with the name of its place.
static MEET: JobDescriptor = JobDescriptor::new("meet", |ctx| {
    Box::pin(async move {
        let place = Place::of(&ctx).await;
        place.two.wait().await;
        place.named()
    })
});

/// Ends when it is asked to.
static OBEDIENT: JobDescriptor = JobDescriptor::new("obedient", |ctx| {
    Box::pin(async move {
        Place::of(&ctx).await;
        ctx.cancelled().await;
        failed("it was asked to end")
    })
});

/// Takes so long that none is fetched far ahead.
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

/// Where one dispatcher's handlers run.
pub(super) struct Place {
    name: &'static str,
    gate: watch::Sender<bool>,
    /// The same for all places.
    two: Arc<Barrier>,
    starts: watch::Sender<Vec<Start>>,
}

/// An attempt that began.
struct Start {
    job: JobId,
    early: bool,
    /// How long it had been due.
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

    /// The place where this attempt begins.
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

    /// Lets what waits at the gate end, and what comes later.
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

    /// The jobs of all attempts, as they began.
    pub(super) fn order(&self) -> Vec<JobId> {
        let starts = self.starts.borrow();
        starts.iter().map(|start| start.job).collect()
    }

    /// How long after its time the one began that waited least.
    pub(super) fn least_late(&self) -> Option<Duration> {
        let starts = self.starts.borrow();
        starts.iter().map(|start| start.late).min()
    }

    /// Jobs of which an attempt began before they were due.
    pub(super) fn early(&self) -> Vec<JobId> {
        let starts = self.starts.borrow();
        let early = starts.iter().filter(|start| start.early);
        early.map(|start| start.job).collect()
    }
}
