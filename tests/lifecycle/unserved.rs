//! Due jobs that nobody runs are told of, with what to do.

use bgjob::Registry;

use crate::support::{Call, Fault, Lines, Probe, World, jobs::*, pass, secs};

/// The lines about jobs that nobody runs, after so many seconds.
async fn told(world: &World, seconds: u64) -> Vec<String> {
    let (lines, _guard) = Lines::listen();
    let registry = registry();
    let running = world.start(registry, &Probe::new()).await;
    pass(secs(seconds)).await;
    running.shutdown().await;
    let told = lines.warnings().into_iter();
    told.filter(|line| line.contains("nobody runs")).collect()
}

#[tokio::test(start_paused = true)]
async fn a_name_that_nobody_knows_is_told_with_one_that_is_near() {
    let world = World::new();
    world.jobs.enqueue_raw("ecko", 1).await.unwrap();
    world.jobs.enqueue_raw("ecko", 2).await.unwrap();
    let told = told(&world, 30).await;
    let [line] = &told[..] else {
        panic!("{told:?}")
    };
    let says = "WARN nobody runs a due job: no job named `ecko` is linked into this program; did \
                you mean `echo`? name=ecko queue=default jobs=2 waiting=";
    assert!(line.starts_with(says), "{line}");
}

#[tokio::test(start_paused = true)]
async fn a_name_like_no_other_is_told_with_how_to_link_its_crate() {
    let world = World::new();
    world.jobs.enqueue_raw("resize", 1).await.unwrap();
    let told = told(&world, 30).await;
    let [line] = &told[..] else {
        panic!("{told:?}")
    };
    assert!(
        line.contains("add `use that_crate as _;` name=resize"),
        "{line}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_nobody_serves_is_told() {
    let world = World::new();
    echo::enqueue(&world.jobs, 1).queue("mail").await.unwrap();
    let told = told(&world, 30).await;
    let [line] = &told[..] else {
        panic!("{told:?}")
    };
    let says = "no dispatcher works on the queue `mail`: start one with `.slots(\"mail\", n)`";
    assert!(line.contains(says), "{line}");
}

#[tokio::test(start_paused = true)]
async fn metadata_of_a_newer_version_is_told() {
    let world = World::new();
    let newer = bgjob::store::JobStore::create;
    let mut spec = bgjob::JobSpec::new("echo", bgjob::Json::encode(&1).unwrap());
    spec.version = 7;
    let job = bgjob::job::NewJob::new(bgjob::JobId::new(), spec, bgjob::job::Due::Now);
    newer(world.store.inner(), &[job]).await.unwrap();
    let told = told(&world, 30).await;
    let [line] = &told[..] else {
        panic!("{told:?}")
    };
    assert!(line.contains("its metadata has a newer version"), "{line}");
}

#[tokio::test(start_paused = true)]
async fn it_is_told_once_a_minute_at_most() {
    let world = World::new();
    world.jobs.enqueue_raw("resize", 1).await.unwrap();
    let told = told(&world, 3_600).await;
    assert!((40..=60).contains(&told.len()), "{}", told.len());
}

#[tokio::test(start_paused = true)]
async fn of_many_kinds_ten_are_told_at_a_time() {
    let world = World::new();
    for n in 0..50 {
        let name = format!("unheard_of_{n}");
        world.jobs.enqueue_raw(name, n).await.unwrap();
    }
    assert_eq!(told(&world, 30).await.len(), 10);
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_its_time_or_its_turn_is_not_told() {
    let world = World::new();
    let later = world.jobs.enqueue_raw("resize", 1).delay(secs(3_600));
    later.await.unwrap();
    // More than the slots take in all that time.
    let long = takes::enqueue_all(&world.jobs, vec![40_000; 200]);
    long.await.unwrap();
    // Another process works on the queue.
    let job = echo::enqueue(&world.jobs, 1).queue("mail").await.unwrap();
    world.claim_and_die(&[job.id()], &["echo"]).await;
    echo::enqueue(&world.jobs, 2).queue("mail").await.unwrap();
    let told = told(&world, 25).await;
    assert!(told.is_empty(), "{told:?}");
}

/// A look that is slow comes seldom: it takes a thousandth of the time at most.
#[tokio::test(start_paused = true)]
async fn looking_costs_next_to_nothing() {
    let world = World::new();
    world.jobs.enqueue_raw("resize", 1).await.unwrap();
    let (before, after) = (secs(5), secs(0));
    let slow = Fault::Slow { before, after };
    world.store.faults().always(&[Call::Counts], slow);
    let looks = || world.store.faults().count(Call::Counts);
    let running = world
        .start(Registry::new().with::<echo>(), &Probe::new())
        .await;
    pass(secs(4_900)).await;
    assert_eq!(looks(), 1);
    pass(secs(5_000)).await;
    assert_eq!(looks(), 2);
    running.shutdown().await;
}
