//! What a dispatcher serves, and what it refuses to start with.

use bgjob::{ErrorKind, JobState, Outcome, Registry, State, job};

use crate::support::{Probe, World, jobs, pass, secs};

struct Mailer;
struct Pool<T>(T);

#[job(name = "mail", queue = "mail", aliases = ["old_mail"])]
async fn mail(_: (), _mailer: State<Mailer>) {}

#[job(name = "report", queue = "reports")]
async fn report(_: (), _pool: State<Pool<u8>>, _mailer: Option<State<Mailer>>) {}

#[job(name = "ping", queue = "pings", version = 2, upgrade = same)]
async fn ping(n: u32) -> Outcome<u32> {
    Outcome::Success(n)
}

fn same(value: serde_json::Value, _: u32) -> Result<serde_json::Value, String> {
    Ok(value)
}

fn registry() -> Registry {
    Registry::new()
        .with::<mail>()
        .with::<report>()
        .with::<ping>()
}

#[tokio::test(start_paused = true)]
async fn all_that_is_missing_is_named_at_once() {
    let world = World::new();
    let error = world.dispatcher(registry()).start().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let text = error.to_string();
    let file = "tests/lifecycle/serving.rs:";
    for says in [
        "job `mail` (",
        "needs `State<Mailer>`: add `.state(mailer)`",
        "job `report` (",
        "needs `State<Pool<u8>>`: add `.state(pool)`",
        file,
    ] {
        assert!(text.contains(says), "{says:?} is not in {text}");
    }
    assert!(!text.contains("ping"), "{text}");
    assert_eq!(
        text.matches("State<Mailer>").count(),
        1,
        "an option needs nothing: {text}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_dedicated_worker_needs_only_what_it_serves() {
    let world = World::new();
    let of_mail = world
        .jobs
        .enqueue_raw("old_mail", ())
        .queue("mail")
        .await
        .unwrap();
    let of_report = report::enqueue(&world.jobs, ()).await.unwrap();
    let of_ping = ping::enqueue(&world.jobs, 1).await.unwrap();
    let builder = world
        .dispatcher(registry())
        .state(Mailer)
        .serve_queues(["mail"]);
    let running = builder.start().await.unwrap();
    of_mail.ended().await.unwrap();
    pass(secs(60)).await;
    assert_eq!(of_report.status().await.unwrap(), JobState::Ready);
    assert_eq!(of_ping.status().await.unwrap(), JobState::Ready);
    running.shutdown().await;
    let builder = world.dispatcher(registry()).serve_jobs(["ping"]);
    let _running = builder.start().await.unwrap();
    assert_eq!(of_ping.result().await.unwrap(), 1);
    pass(secs(60)).await;
    assert_eq!(of_report.status().await.unwrap(), JobState::Ready);
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_jobs_are_only_sent_to_has_to_be_named() {
    let world = World::new();
    let job = ping::enqueue(&world.jobs, 1).queue("aside").await.unwrap();
    let services = |builder: bgjob::DispatcherBuilder| builder.state(Mailer).state(Pool(1_u8));
    let first = services(world.dispatcher(registry()))
        .start()
        .await
        .unwrap();
    pass(secs(60)).await;
    assert_eq!(job.status().await.unwrap(), JobState::Ready);
    let builder = services(world.dispatcher(registry())).slots("aside", 1);
    let _second = builder.start().await.unwrap();
    assert_eq!(job.result().await.unwrap(), 1);
    first.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn what_nobody_here_can_read_waits_for_somebody_who_can() {
    let world = World::new();
    let newer = world
        .jobs
        .enqueue_raw("ping", 1)
        .queue("pings")
        .version(3)
        .await
        .unwrap();
    let unknown = world
        .jobs
        .enqueue_raw("pong", 1)
        .queue("pings")
        .await
        .unwrap();
    let older = world
        .jobs
        .enqueue_raw("ping", 1)
        .queue("pings")
        .version(0)
        .await
        .unwrap();
    let builder = world.dispatcher(registry()).serve_jobs(["ping"]);
    let _running = builder.start().await.unwrap();
    older.result().await.unwrap();
    pass(secs(3_600)).await;
    for job in [newer, unknown] {
        let job = job.job().await.unwrap();
        assert_eq!((job.state(), job.fence), (JobState::Ready, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn wrong_settings_are_refused_at_the_start() {
    let world = World::new();
    let builder = || world.dispatcher(jobs::registry()).state(Probe::new());
    let check = async |builder: bgjob::DispatcherBuilder, says: &str| {
        let error = builder.start().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(
            error.to_string().contains(says),
            "{says:?} is not in {error}"
        );
    };
    check(builder().slots("default", 0), "`default` has 0 slots").await;
    check(builder().default_slots(10_001), "10001 slots").await;
    check(builder().slots("Bad", 1), "queue names are").await;
    check(builder().lease(secs(1)), "`lease`").await;
    check(builder().sweep_every(secs(5)), "`sweep_every`").await;
    let nanosecond = std::time::Duration::from_nanos(1);
    check(builder().sweep_every(nanosecond), "10 ms to 4 s").await;
    check(builder().drain(secs(u64::MAX)), "`drain`").await;
    check(builder().expect_jobs(["ecko"]), "did you mean `echo`?").await;
    check(builder().serve_jobs(["nothing_like_it"]), "nothing_like_it").await;
    // Nothing to do, ever.
    check(builder().serve_queues(["defualt"]), "no job").await;
    check(world.dispatcher(Registry::new()), "no job").await;
}

mod twins {
    #[bgjob::job(name = "twin")]
    pub(super) async fn first(_: ()) {}

    #[bgjob::job(name = "brother", aliases = ["twin"])]
    pub(super) async fn second(_: ()) {}
}

#[tokio::test(start_paused = true)]
async fn two_jobs_of_one_name_are_refused_with_both_places() {
    let world = World::new();
    let registry = Registry::new()
        .with::<twins::first>()
        .with::<twins::second>();
    let error = world.dispatcher(registry).start().await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("two jobs are named `twin`"), "{text}");
    assert_eq!(text.matches("serving.rs:").count(), 2, "{text}");
}

#[tokio::test(start_paused = true)]
async fn the_start_says_what_is_registered() {
    let world = World::new();
    let builder = world.dispatcher(registry()).state(Mailer).state(Pool(1_u8));
    let builder = builder.expect_jobs(["mail", "old_mail"]);
    let _running = builder.start().await.unwrap();
    let names = ["mail", "ping", "report"].map(str::to_owned).to_vec();
    world
        .log
        .wait(|what| *what == crate::support::What::Started(names.clone()))
        .await;
}
