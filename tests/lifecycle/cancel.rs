//! Cancelling by a user: what waits, what runs and listens, what runs and does not.

use bgjob::{CancelReason, ErrorKind, JobState, Outcome};

use crate::support::{Probe, What, World, jobs::*, pass, secs};

#[tokio::test(start_paused = true)]
async fn a_waiting_job_is_cancelled_at_once_and_never_starts() {
    let world = World::new();
    let job = echo::enqueue(&world.jobs, 1).await.unwrap();
    assert_eq!(job.cancel().await.unwrap(), JobState::Cancelled);
    assert_eq!(
        job.cancel().await.unwrap(),
        JobState::Cancelled,
        "twice is once"
    );
    assert_eq!(
        job.result().await.unwrap_err().kind(),
        ErrorKind::JobCancelled
    );
    let _running = world.start(registry(), &Probe::new()).await;
    echo::enqueue(&world.jobs, 2)
        .await
        .unwrap()
        .result()
        .await
        .unwrap();
    assert!(world.log.starts(job.id()).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_running_handler_is_asked_at_once_in_the_same_process() {
    let world = World::new();
    let probe = Probe::new();
    let _running = world.start(registry(), &probe).await;
    let job = polite::enqueue(&world.jobs, ()).await.unwrap();
    world.log.started(job.id(), 1).await;
    let asked = tokio::time::Instant::now();
    assert_eq!(job.cancel().await.unwrap(), JobState::Running);
    let ended = job.ended().await.unwrap();
    assert_eq!(ended.state(), JobState::Cancelled);
    assert_eq!(probe.said(), ["User"]);
    let kept = ended.progress.as_ref().map(|last| last.done);
    assert_eq!(kept, Some(1), "what it reported before any renewal");
    assert!(asked.elapsed() < secs(1), "{:?}", asked.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_does_not_listen_is_dropped_after_five_seconds() {
    let world = World::new();
    let probe = Probe::new();
    let _running = world.start(registry(), &probe).await;
    let job = stubborn::enqueue(&world.jobs, ()).await.unwrap();
    world.log.started(job.id(), 1).await;
    let asked = tokio::time::Instant::now();
    job.cancel().await.unwrap();
    let ended = job.ended().await.unwrap();
    assert_eq!(ended.state(), JobState::Cancelled);
    let took = asked.elapsed();
    assert!((secs(5)..secs(6)).contains(&took), "{took:?}");
    assert_eq!(probe.running(), 0);
}

/// Another process cancels: nothing wakes this one, so it learns of it at a renewal.
#[tokio::test(start_paused = true)]
async fn a_cancel_made_elsewhere_is_seen_at_the_next_renewal() {
    let world = World::new();
    let probe = Probe::new();
    let _running = world.start(registry(), &probe).await;
    let elsewhere = bgjob::JobManager::builder(world.store.clone())
        .build()
        .unwrap();
    let job = polite::enqueue(&world.jobs, ()).await.unwrap();
    world.log.started(job.id(), 1).await;
    elsewhere.cancel(job.id()).await.unwrap();
    assert_eq!(job.ended().await.unwrap().state(), JobState::Cancelled);
    assert!(world.elapsed() <= secs(12), "{:?}", world.elapsed());
}

#[tokio::test(start_paused = true)]
async fn done_is_done_although_someone_cancelled() {
    let world = World::new();
    let probe = Probe::new();
    let _running = world.start(registry(), &probe).await;
    let job = gated::enqueue(&world.jobs, "done".to_owned())
        .await
        .unwrap();
    world.log.started(job.id(), 1).await;
    job.cancel().await.unwrap();
    let asked = What::CancelRequested(job.id(), CancelReason::User);
    world.log.wait(|what| *what == asked).await;
    probe.open(1);
    assert_eq!(job.result().await.unwrap(), "done");
    let over = job.cancel().await.unwrap_err();
    assert_eq!(over.kind(), ErrorKind::Conflict);
}

#[tokio::test(start_paused = true)]
async fn a_retrying_job_is_cancelled_while_it_waits() {
    let world = World::new();
    let probe = Probe::new();
    let _running = world.start(registry(), &probe).await;
    let job = world
        .jobs
        .enqueue_raw("takes", 1)
        .delay(secs(60))
        .await
        .unwrap();
    pass(secs(30)).await;
    assert_eq!(job.cancel().await.unwrap(), JobState::Cancelled);
    pass(secs(60)).await;
    assert!(world.log.starts(job.id()).is_empty());
    assert_eq!(
        gated("x".into(), opened()).await,
        Outcome::Success("x".into())
    );
}

fn opened() -> bgjob::State<Probe> {
    let probe = Probe::new();
    probe.open(1);
    bgjob::State::new(probe)
}
