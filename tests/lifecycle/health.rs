//! What a dispatcher says of itself.

use bgjob::Part;

use crate::support::{Fault, Probe, What, World, jobs::*, pass, secs};

#[tokio::test(start_paused = true)]
async fn one_that_is_idle_is_well() {
    let world = World::new();
    let builder = world.dispatcher(registry()).state(Probe::new());
    let running = builder
        .slots("default", 3)
        .slots("other", 4)
        .start()
        .await
        .unwrap();
    pass(secs(600)).await;
    let health = running.health();
    assert!(health.is_good() && !health.draining, "{health:?}");
    assert_eq!((health.slots, health.running, health.waiting), (7, 0, 0));
    assert!(health.stalled.is_empty(), "{health:?}");
}

#[tokio::test(start_paused = true)]
async fn it_counts_what_runs() {
    let world = World::new();
    let probe = Probe::new();
    let running = world.start(registry(), &probe).await;
    gated::enqueue_all(&world.jobs, vec!["x".to_owned(); 4])
        .await
        .unwrap();
    world
        .log
        .nth(4, |what| matches!(what, What::AttemptStarted(_)))
        .await;
    assert_eq!(running.health().running, 4);
    probe.open(4);
    world.all_over().await;
    assert_eq!(running.health().running, 0);
}

#[tokio::test(start_paused = true)]
async fn it_tells_what_the_store_has_not_confirmed() {
    let world = World::new();
    let running = world.start(registry(), &Probe::new()).await;
    let job = takes::enqueue(&world.jobs, 1_000).await.unwrap();
    world.log.started(job.id(), 1).await;
    world.store.faults().always(&[], Fault::Before);
    world
        .log
        .wait(|what| *what == What::Down(Part::Store))
        .await;
    pass(secs(10)).await;
    let health = running.health();
    assert_eq!(health.unrecorded, 1, "{health:?}");
    assert!(!health.is_good());
    world.store.faults().heal();
    job.result().await.unwrap();
    world.log.recorded(job.id()).await;
    assert_eq!(running.health().unrecorded, 0);
}

#[tokio::test(start_paused = true)]
async fn one_that_goes_down_says_so() {
    let world = World::new();
    let running = world.start(registry(), &Probe::new()).await;
    let job = takes::enqueue(&world.jobs, 10_000).await.unwrap();
    world.log.started(job.id(), 1).await;
    running.begin_shutdown();
    let health = running.health();
    assert!(health.draining && health.is_good(), "{health:?}");
    let _ = running.wait().await;
}

/// A store that never answers: no loop is stalled, each call is given up and made again.
#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_stalls_no_loop() {
    let world = World::new();
    let running = world.start(registry(), &Probe::new()).await;
    world.store.faults().always(&[], Fault::Hang);
    pass(secs(300)).await;
    let health = running.health();
    assert!(health.stalled.is_empty(), "{health:?}");
    assert!(health.store_down_for.is_some());
}
