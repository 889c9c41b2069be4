//! `on_dead`: it sees every death, whoever died of what, and nothing it does hurts a job.

use std::sync::{Arc, Mutex};

use bgjob::{DeadJob, DispatcherBuilder, JobError, Registry, job, job::DeadReason};

use crate::support::{Probe, What, World, jobs, pass, secs, within};

/// Dies in the way that it is told.
#[job(name = "mortal", max_attempts = 2, max_crashes = 1, timeout = "1h")]
async fn mortal(how: String) -> Result<(), JobError> {
    match &*how {
        "error" => Err(JobError::retry_in(secs(1), "no luck")),
        "abort" => Err(JobError::abort("no use")),
        _ => std::future::pending().await,
    }
}

#[job(name = "brief", expires = "5s")]
async fn brief(_: ()) {}

#[job(name = "limited", deadline = "60s", backoff = "constant(2m)")]
async fn limited(_: ()) -> Result<(), JobError> {
    Err(JobError::retry("not yet"))
}

#[job(name = "patient", deadline = "60s", max_attempts = 9)]
async fn patient(_: ()) -> Result<(), JobError> {
    Err(JobError::retry_in(secs(50), "not yet"))
}

fn mortals() -> Registry {
    Registry::new()
        .with::<mortal>()
        .with::<brief>()
        .with::<limited>()
        .with::<patient>()
        .with::<jobs::echo>()
}

/// What a hook was told.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<DeadJob>>>);

impl Told {
    fn hooked(&self, builder: DispatcherBuilder) -> DispatcherBuilder {
        let told = Arc::clone(&self.0);
        builder.on_dead(move |dead| {
            told.lock().unwrap().push(dead);
            async {}
        })
    }

    /// The one death there was.
    async fn one(&self) -> DeadJob {
        pass(secs(1)).await;
        let told = self.0.lock().unwrap();
        assert_eq!(told.len(), 1, "{told:?}");
        told[0].clone()
    }
}

#[tokio::test(start_paused = true)]
async fn a_death_by_an_attempt_is_told_with_its_error() {
    for (how, reason, says) in [
        ("error", DeadReason::Errors, "no luck"),
        ("abort", DeadReason::Aborted, "no use"),
    ] {
        let (world, told) = (World::new(), Told::default());
        let builder = told.hooked(world.dispatcher(mortals()));
        let _running = builder.start().await.unwrap();
        let job = mortal::enqueue(&world.jobs, how.to_owned()).await.unwrap();
        job.ended().await.unwrap();
        let dead = told.one().await;
        assert_eq!((dead.id, dead.reason), (job.id(), reason));
        assert_eq!((&*dead.name, &*dead.queue), ("mortal", "default"));
        assert_eq!(dead.errors, world.job(job.id()).await.errors);
        assert_eq!(dead.last_error.unwrap().message(), says);
    }
}

#[tokio::test(start_paused = true)]
async fn a_death_by_metadata_that_nobody_reads_is_told() {
    let (world, told) = (World::new(), Told::default());
    let builder = told.hooked(world.dispatcher(mortals()));
    let _running = builder.start().await.unwrap();
    world.jobs.enqueue_raw("mortal", 7).await.unwrap();
    assert_eq!(told.one().await.reason, DeadReason::Decode);
}

#[tokio::test(start_paused = true)]
async fn a_death_by_a_crash_is_told_by_who_finds_it() {
    let (world, told) = (World::new(), Told::default());
    let job = mortal::enqueue(&world.jobs, "hang".to_owned());
    let job = job.await.unwrap();
    world.claim_and_die(&[job.id()], &["mortal"]).await;
    let builder = told.hooked(world.dispatcher(mortals()));
    let _running = builder.start().await.unwrap();
    job.ended().await.unwrap();
    let dead = told.one().await;
    assert_eq!((dead.id, dead.reason), (job.id(), DeadReason::Crashes));
    assert_eq!((dead.errors, dead.crashes, dead.last_error), (0, 1, None));
}

#[tokio::test(start_paused = true)]
async fn a_death_by_time_is_told() {
    let (world, told) = (World::new(), Told::default());
    let job = brief::enqueue(&world.jobs, ()).await.unwrap();
    pass(secs(6)).await;
    let builder = told.hooked(world.dispatcher(mortals()));
    let _running = builder.start().await.unwrap();
    let dead = told.one().await;
    assert_eq!((dead.id, dead.reason), (job.id(), DeadReason::Expired));

    let (world, told) = (World::new(), Told::default());
    let builder = told.hooked(world.dispatcher(mortals()));
    let _running = builder.start().await.unwrap();
    limited::enqueue(&world.jobs, ()).await.unwrap();
    let dead = told.one().await;
    assert_eq!(
        (&*dead.name, dead.reason),
        ("limited", DeadReason::Deadline)
    );

    // Nobody is there when its time is over.
    let (world, told) = (World::new(), Told::default());
    let running = world.dispatcher(mortals()).start().await.unwrap();
    let job = patient::enqueue(&world.jobs, ()).await.unwrap();
    world.log.recorded(job.id()).await;
    running.shutdown().await;
    pass(secs(61)).await;
    let builder = told.hooked(world.dispatcher(mortals()));
    let _running = builder.start().await.unwrap();
    let dead = told.one().await;
    assert_eq!(
        (&*dead.name, dead.reason),
        ("patient", DeadReason::Deadline)
    );
    assert_eq!(dead.last_error.unwrap().message(), "not yet");
}

#[tokio::test(start_paused = true)]
async fn what_ends_otherwise_is_not_told() {
    let (world, told) = (World::new(), Told::default());
    let builder = told.hooked(world.dispatcher(mortals()));
    let running = builder.start().await.unwrap();
    let echo = jobs::echo::enqueue(&world.jobs, 1).await.unwrap();
    echo.result().await.unwrap();
    let job = mortal::enqueue(&world.jobs, "hang".to_owned());
    let job = job.await.unwrap();
    world.log.started(job.id(), 1).await;
    job.cancel().await.unwrap();
    job.ended().await.unwrap();
    running.shutdown().await;
    assert!(told.0.lock().unwrap().is_empty());
}

/// The hook panics, hangs, and at last works: no job waits for it, and each is told.
#[tokio::test(start_paused = true)]
async fn a_bad_hook_hurts_nobody() {
    let (world, told) = (World::new(), Told::default());
    let builder = world.dispatcher(mortals()).on_dead(|dead| async move {
        match dead.reason {
            DeadReason::Aborted => panic!("a bad hook"),
            _ => std::future::pending().await,
        }
    });
    let builder = told.hooked(builder).on_dead(|_| -> std::future::Ready<()> {
        panic!("a hook that does not come to its future")
    });
    let running = builder.default_slots(1).start().await.unwrap();
    for how in ["abort", "error", "abort"] {
        let job = mortal::enqueue(&world.jobs, how.to_owned());
        let job = job.await.unwrap();
        within(secs(5), job.ended()).await.unwrap();
    }
    let echo = jobs::echo::enqueue(&world.jobs, 1).await.unwrap();
    within(secs(1), echo.result()).await.unwrap();
    pass(secs(40)).await;
    let reasons: Vec<_> = told.0.lock().unwrap().iter().map(|d| d.reason).collect();
    let (aborted, errors) = (DeadReason::Aborted, DeadReason::Errors);
    assert_eq!(reasons, [aborted, errors, aborted]);
    running.shutdown().await;
    assert_eq!(world.log.count(|w| matches!(w, What::LoopFailed(_))), 0);
}

/// What dies while the dispatcher shuts down is told before it has stopped.
#[tokio::test(start_paused = true)]
async fn the_last_death_is_told_before_the_end() {
    let (world, told) = (World::new(), Told::default());
    let builder = told.hooked(world.dispatcher(jobs::registry().with::<dying>()));
    let probe = Probe::new();
    let running = builder.state(probe.clone()).start().await.unwrap();
    let job = dying::enqueue(&world.jobs, ()).await.unwrap();
    world.log.started(job.id(), 1).await;
    running.begin_shutdown();
    probe.open(1);
    running.shutdown().await;
    assert_eq!(told.0.lock().unwrap().len(), 1);
}

#[job(name = "dying")]
async fn dying(_: (), probe: bgjob::State<Probe>) -> Result<(), JobError> {
    probe.gate().await;
    Err(JobError::abort("at last"))
}
