//! What blocking code finds on its thread: the runtime, the span and the subscriber of its attempt,
//! and that it is a handler.

use bgjob::{JobManager, Outcome, State, job};

use crate::support::{Lines, Probe, What, World, jobs::*, secs};

/// Logs from its own thread.
#[job(name = "talks", blocking)]
fn talks(_: ()) {
    tracing::info!(target: "bgjob", "from its thread");
}

#[tokio::test]
async fn blocking_code_logs_within_its_job() {
    let (lines, _guard) = Lines::listen();
    let world = World::new();
    let running = world.start(registry().with::<talks>(), &Probe::new()).await;
    let job = talks::enqueue(&world.jobs, ()).await.unwrap();
    job.result().await.unwrap();
    running.shutdown().await;
    let told = lines.of("INFO from its thread");
    let spans: Vec<_> = told.iter().map(|line| line.span.0.get("name")).collect();
    assert_eq!(spans, [Some(&"talks".to_owned())]);
}

/// Waits for a job of its own queue, as blocking code does.
#[job(name = "blocking_parent", blocking, timeout = "1s", max_attempts = 1)]
fn blocking_parent(_: (), jobs: State<JobManager>) -> Outcome<u32> {
    let runtime = tokio::runtime::Handle::current();
    let jobs = jobs.clone();
    let child = runtime.block_on(async move {
        let child = echo::enqueue(&jobs, 7).await?;
        child.result_within(secs(4)).await
    });
    Outcome::Success(child.unwrap_or(0))
}

/// In real time: tokio does not let paused time go on while a blocking thread is at work.
#[tokio::test(flavor = "multi_thread")]
async fn blocking_code_that_waits_for_its_own_slot_says_so() {
    let world = World::new();
    let builder = world
        .dispatcher(registry().with::<blocking_parent>())
        .state(world.jobs.clone())
        .state(Probe::new())
        .slots("default", 1);
    let _running = builder.start().await.unwrap();
    let job = blocking_parent::enqueue(&world.jobs, ()).await.unwrap();
    world
        .log
        .wait(|what| matches!(what, What::WaitsForSlot(id, _) if *id == job.id()))
        .await;
}
