//! Handlers that wait for themselves, in one way or another.

use std::sync::{Arc, Mutex};

use bgjob::{DispatcherHandle, JobHandle, JobManager, JobState, Outcome, State, job};

use crate::support::{Probe, What, World, jobs::*, millis, pass, secs};

/// Waits for a job of its own queue.
#[job(timeout = "1m", max_attempts = 1)]
async fn parent(_: (), jobs: State<JobManager>) -> Result<u32, bgjob::Error> {
    echo::enqueue(&jobs, 7).await?.result().await
}

/// The same for less long than anybody looks.
#[job(timeout = "2s", max_attempts = 1)]
async fn hasty(_: (), jobs: State<JobManager>) -> Result<u32, bgjob::Error> {
    echo::enqueue(&jobs, 7).await?.result().await
}

/// Waits for a job that is not due.
#[job(timeout = "1m", max_attempts = 1)]
async fn patient(_: (), jobs: State<JobManager>) -> Result<u32, bgjob::Error> {
    let later = echo::enqueue(&jobs, 7).delay(secs(600)).await?;
    later.result().await
}

async fn run<R>(
    slots: usize,
    job: impl AsyncFnOnce(&World) -> JobHandle<R>,
) -> (World, bgjob::Job) {
    let world = World::new();
    let registry = registry()
        .with::<parent>()
        .with::<hasty>()
        .with::<patient>();
    let builder = world
        .dispatcher(registry)
        .state(world.jobs.clone())
        .state(Probe::new())
        .slots("default", slots);
    let _running = builder.start().await.unwrap();
    let job = job(&world).await;
    let ended = job.ended().await.unwrap();
    (world, ended)
}

fn told(world: &World) -> usize {
    world
        .log
        .count(|what| matches!(what, What::WaitsForSlot(..)))
}

#[tokio::test(start_paused = true)]
async fn a_job_that_waits_for_its_own_slot_says_so() {
    let (world, ended) = run(1, async |world| {
        parent::enqueue(&world.jobs, ()).await.unwrap()
    })
    .await;
    assert_eq!(ended.state(), JobState::Dead);
    let error = ended.last_error().unwrap().message();
    assert!(error.contains("it waited for the job"), "{error}");
    assert!(error.contains("found no free slot"), "{error}");
    assert_eq!(told(&world), 1);
    let (began, what) = world
        .log
        .wait(|what| matches!(what, What::WaitsForSlot(..)))
        .await;
    assert_eq!(what.job(), Some(ended.id));
    let started = world.log.started(ended.id, 1).await;
    assert!(began - started < secs(12), "{:?}", began - started);
}

#[tokio::test(start_paused = true)]
async fn also_where_its_time_out_is_short() {
    let (world, ended) = run(1, async |world| {
        hasty::enqueue(&world.jobs, ()).await.unwrap()
    })
    .await;
    let error = ended.last_error().unwrap().message();
    assert!(error.contains("found no free slot"), "{error}");
    assert_eq!(told(&world), 1);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_what_runs_or_is_not_due_says_nothing() {
    let (world, ended) = run(2, async |world| {
        parent::enqueue(&world.jobs, ()).await.unwrap()
    })
    .await;
    assert_eq!((ended.state(), told(&world)), (JobState::Succeeded, 0));
    let (world, ended) = run(1, async |world| {
        patient::enqueue(&world.jobs, ()).await.unwrap()
    })
    .await;
    let error = ended.last_error().unwrap().message();
    assert!(!error.contains("slot"), "{error}");
    assert_eq!(told(&world), 0);
}

type Own = Arc<Mutex<Option<DispatcherHandle>>>;

/// Ends the dispatcher that runs it.
#[job(timeout = "1h")]
async fn last(waits: bool, own: State<Own>) -> Outcome<u32> {
    let running = own.lock().unwrap().take().expect("it runs");
    let drained = if waits {
        running.wait().await
    } else {
        running.shutdown().await
    };
    Outcome::Success(drained.released as u32)
}

#[tokio::test(start_paused = true)]
async fn a_job_that_shuts_its_own_dispatcher_down_is_not_made_to_wait() {
    let world = World::new();
    let own = Own::default();
    let builder = world
        .dispatcher(registry().with::<last>())
        .state(Probe::new())
        .state(Arc::clone(&own));
    let running = builder.start().await.unwrap();
    *own.lock().unwrap() = Some(running);
    let begun = tokio::time::Instant::now();
    let job = last::enqueue(&world.jobs, false).await.unwrap();
    assert_eq!(job.result().await.unwrap(), 0);
    world
        .log
        .wait(|what| matches!(what, What::Stopped(..)))
        .await;
    assert!(begun.elapsed() < secs(1), "{:?}", begun.elapsed());
    let ended = job.job().await.unwrap();
    assert_eq!(
        (ended.fence, ended.errors),
        (1, 0),
        "it does not come again"
    );
    assert_eq!(
        world
            .log
            .count(|what| *what == What::WaitsForItself(job.id())),
        1
    );
}

#[tokio::test(start_paused = true)]
async fn nor_is_one_that_waits_for_its_end() {
    let world = World::new();
    let own = Own::default();
    let builder = world
        .dispatcher(registry().with::<last>())
        .state(Probe::new())
        .state(Arc::clone(&own));
    *own.lock().unwrap() = Some(builder.start().await.unwrap());
    let job = last::enqueue(&world.jobs, true).await.unwrap();
    assert_eq!(job.result().await.unwrap(), 0);
    pass(millis(10)).await;
    assert_eq!(world.log.count(|what| matches!(what, What::Stopped(..))), 0);
}
