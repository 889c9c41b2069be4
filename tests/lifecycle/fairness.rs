//! Who gets which job, and in which order.

use bgjob::{JobState, Outcome, Priority, State, job};

use crate::support::{Probe, What, World, jobs::*, millis, pass, secs};

#[tokio::test(start_paused = true)]
async fn the_most_urgent_go_first_then_the_longest_due() {
    let world = World::new();
    let probe = Probe::new();
    let ranks = [
        Priority::Low,
        Priority::Normal,
        Priority::High,
        Priority::Critical,
    ];
    for round in 0..3 {
        for rank in ranks {
            let word = format!("{rank:?} {round}");
            gated::enqueue(&world.jobs, word)
                .priority(rank)
                .await
                .unwrap();
        }
        pass(millis(5)).await;
    }
    probe.open(12);
    let builder = world
        .dispatcher(registry())
        .state(probe.clone())
        .default_slots(1);
    let _running = builder.start().await.unwrap();
    world.all_over().await;
    let expected: Vec<_> = ranks
        .iter()
        .rev()
        .flat_map(|rank| (0..3).map(move |round| format!("{rank:?} {round}")))
        .collect();
    assert_eq!(probe.said(), expected);
}

#[tokio::test(start_paused = true)]
async fn there_are_never_more_at_work_than_slots() {
    let world = World::new();
    let (many, few) = (Probe::new(), Probe::new());
    let builder = world.dispatcher(registry().with::<other>());
    let builder = builder.state(many.clone()).state(Few(few.clone()));
    let _running = builder
        .slots("default", 7)
        .slots("few", 2)
        .start()
        .await
        .unwrap();
    takes::enqueue_all(&world.jobs, vec![100; 70])
        .await
        .unwrap();
    other::enqueue_all(&world.jobs, vec![(); 20]).await.unwrap();
    world.all_over().await;
    assert_eq!((many.most(), few.most()), (7, 2));
    // Ten rounds of 100 ms each, side by side.
    assert!(world.elapsed() <= secs(2), "{:?}", world.elapsed());
}

struct Few(Probe);

#[job(name = "other", queue = "few")]
async fn other(_: (), few: State<Few>) -> Outcome {
    let _inside = few.0.enter();
    pass(millis(100)).await;
    Outcome::Success(())
}

/// Two dispatchers with two slots each, on one store: once it is known how long jobs take, none
/// waits in a hand while the other dispatcher has a slot to spare.
#[tokio::test(start_paused = true)]
async fn long_jobs_are_not_hoarded() {
    let world = World::new();
    let probe = Probe::new();
    let start = async || {
        let builder = world
            .dispatcher(registry())
            .state(probe.clone())
            .default_slots(2);
        builder.start().await.unwrap()
    };
    let both = [start().await, start().await];
    takes::enqueue_all(&world.jobs, [60_000; 24]).await.unwrap();
    for _ in 0..1_000 {
        pass(millis(990)).await;
        let free = both
            .iter()
            .map(|d| d.health().slots - d.health().running)
            .sum::<usize>();
        let waiting = both.iter().map(|d| d.health().waiting).sum::<usize>();
        let over = world.count(JobState::Ready).await + world.count(JobState::Running).await == 0;
        assert!(
            over || free == 0 || waiting == 0,
            "{free} free, {waiting} in hand"
        );
        if over {
            break;
        }
    }
    assert_eq!(probe.most(), 4);
    assert!(world.elapsed() <= secs(6 * 61), "{:?}", world.elapsed());
}

/// Long jobs come after a flood of tiny ones in the same queue.
#[tokio::test(start_paused = true)]
async fn what_was_taken_ahead_because_jobs_were_short_is_no_hoard_of_long_ones() {
    let world = World::new();
    let probe = Probe::new();
    let start = async || {
        let builder = world
            .dispatcher(registry())
            .state(probe.clone())
            .default_slots(2);
        builder.start().await.unwrap()
    };
    let first = start().await;
    echo::enqueue_all(&world.jobs, 0..2_000).await.unwrap();
    world.all_over().await;
    takes::enqueue_all(&world.jobs, [60_000; 40]).await.unwrap();
    pass(millis(10)).await;
    assert!(first.health().waiting > 0, "they looked short");
    let second = start().await;
    pass(secs(30)).await;
    assert_eq!(second.health().running, 2, "the other helps");
}

#[tokio::test(start_paused = true)]
async fn an_end_frees_a_slot_for_the_next_at_once() {
    let world = World::new();
    let builder = world
        .dispatcher(registry())
        .state(Probe::new())
        .default_slots(1);
    let _running = builder.start().await.unwrap();
    let jobs = takes::enqueue_all(&world.jobs, [1_000; 20]).await.unwrap();
    world.all_over().await;
    let starts: Vec<_> = jobs
        .iter()
        .map(|job| world.log.starts(job.id())[0])
        .collect();
    for pair in starts.windows(2) {
        assert!(
            pair[1] - pair[0] <= millis(1_010),
            "{:?}",
            pair[1] - pair[0]
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_events_of_an_attempt_come_in_order() {
    let world = World::new();
    let _running = world.start(registry(), &Probe::new()).await;
    let job = takes::enqueue(&world.jobs, 1_000).await.unwrap();
    job.result().await.unwrap();
    world.log.recorded(job.id()).await;
    match &world.log.of(job.id())[..] {
        [
            What::AttemptStarted(_),
            What::AttemptEnded(_, bgjob::Verdict::Success, ran),
            What::Recorded(_, bgjob::store::Finished::Applied(JobState::Succeeded), false),
        ] => assert!((millis(1_000)..millis(1_010)).contains(ran), "{ran:?}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(world.log.count(|what| *what == What::Created(1)), 1);
}
