//! What handlers are given.

use bgjob::{
    BoxError, FromContext, JobContext, JobError, JobId, JobState, Outcome, Priority, State,
    extract::{Attempts, Fence, Headers, Needs, Tags},
    job,
    job::{AttemptEnd, FailureKind},
};

use crate::support::{Probe, World, jobs, secs};

/// A connection of a pool, say: taken from a service, and that can fail.
struct Db(String);

impl FromContext for Db {
    type Error = BoxError;

    async fn from_context(ctx: &JobContext) -> Result<Self, BoxError> {
        let probe = State::<Probe>::from_context(ctx).await?;
        if ctx.attempt() == 1 {
            return Err("the pool is empty".into());
        }
        if ctx.tags().iter().any(|tag| tag == "locked") {
            return Err(JobError::abort("no key").into());
        }
        probe.say("connected");
        Ok(Self(format!("{} of {}", ctx.name(), ctx.queue())))
    }

    fn needs(needs: &mut Needs) {
        State::<Probe>::needs(needs);
    }
}

#[job(name = "asks_for_all", queue = "all", backoff = "constant(1s)")]
#[allow(clippy::too_many_arguments, reason = "that is what is tested")]
async fn asks_for_all(
    n: u32,
    Db(db): Db,
    id: JobId,
    (attempts, fence): (Attempts, Fence),
    Headers(headers): Headers,
    Tags(tags): Tags,
    priority: Priority,
    nobody: Option<State<u128>>,
) -> Outcome<(u32, String, JobId, u32, u64, String, Vec<String>, bool)> {
    assert!(nobody.is_none());
    let urgent = priority == Priority::High;
    let tenant = headers["tenant"].clone();
    Outcome::Success((n, db, id, attempts.this, fence.0, tenant, tags, urgent))
}

#[tokio::test(start_paused = true)]
async fn a_handler_gets_what_it_asks_for() {
    let world = World::new();
    let probe = Probe::new();
    let _running = world
        .start(jobs::registry().with::<asks_for_all>(), &probe)
        .await;
    let enqueue = asks_for_all::enqueue(&world.jobs, 7)
        .tag("blue")
        .header("tenant", "t");
    let job = enqueue.priority(Priority::High).await.unwrap();
    let db = "asks_for_all of all".to_owned();
    let expected = (
        7,
        db,
        job.id(),
        2,
        2,
        "t".to_owned(),
        vec!["blue".to_owned()],
        true,
    );
    assert_eq!(job.result().await.unwrap(), expected);
    let job = job.job().await.unwrap();
    let AttemptEnd::Failed(failure) = &job.history[0].end else {
        panic!("{job:?}");
    };
    assert_eq!(failure.kind, FailureKind::Extract);
    assert_eq!(failure.message(), "the pool is empty");
}

#[tokio::test(start_paused = true)]
async fn an_extractor_may_say_that_trying_again_is_of_no_use() {
    let world = World::new();
    let _running = world
        .start(jobs::registry().with::<asks_for_all>(), &Probe::new())
        .await;
    let enqueue = asks_for_all::enqueue(&world.jobs, 7)
        .tag("locked")
        .header("tenant", "t");
    let ended = enqueue.await.unwrap().ended().await.unwrap();
    assert_eq!((ended.state(), ended.errors), (JobState::Dead, 2));
}

#[job(name = "reports", timeout = "1h")]
async fn reports(_: (), ctx: JobContext) {
    for step in 0..60 {
        ctx.report(bgjob::Progress::of(step, 60).note("on the way"));
        crate::support::pass(secs(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn progress_is_stored_with_the_renewals() {
    let world = World::new();
    let _running = world
        .start(jobs::registry().with::<reports>(), &Probe::new())
        .await;
    let job = reports::enqueue(&world.jobs, ()).await.unwrap();
    crate::support::pass(secs(25)).await;
    let progress = world.job(job.id()).await.progress.expect("twice renewed");
    assert!((15..=25).contains(&progress.done), "{progress:?}");
    assert_eq!(
        (progress.total, progress.note.as_deref()),
        (Some(60), Some("on the way"))
    );
}

#[job(name = "knows", timeout = "1h", deadline = "2h")]
async fn knows(_: (), ctx: JobContext) -> Outcome<(u64, u64)> {
    crate::support::pass(secs(3)).await;
    assert!(!ctx.is_cancelled());
    assert_eq!((ctx.attempt(), ctx.crashes(), ctx.epoch()), (1, 0, 0));
    let deadline = ctx.deadline().expect("it has one").since(ctx.due_at());
    Outcome::Success((ctx.elapsed().as_secs(), deadline.as_secs()))
}

#[tokio::test(start_paused = true)]
async fn a_context_knows_its_times() {
    let world = World::new();
    let _running = world
        .start(jobs::registry().with::<knows>(), &Probe::new())
        .await;
    let job = knows::enqueue(&world.jobs, ()).await.unwrap();
    assert_eq!(job.result().await.unwrap(), (3, 7_200));
}
