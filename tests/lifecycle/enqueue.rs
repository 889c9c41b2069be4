//! Storing jobs: one, many, again, and at once from a thousand tasks.

use std::time::{Duration, SystemTime};

use bgjob::{
    Backoff, ErrorKind, JobId, JobManager, JobState, Outcome, Priority, job,
    job::{DeadReason, How, Phase},
};

use crate::support::{Call, Fault, Probe, What, World, jobs::*, millis, secs, slow};

#[tokio::test(start_paused = true)]
async fn a_typed_enqueue_leads_to_a_typed_result() {
    let world = World::new();
    let _running = world.start(registry(), &Probe::new()).await;
    let job = echo::enqueue(&world.jobs, 7).await.unwrap();
    assert!(!job.already_existed());
    assert_eq!(job.result().await.unwrap(), 7);
    assert_eq!(job.status().await.unwrap(), JobState::Succeeded);
    // The function is still a function.
    assert_eq!(echo(8).await, Outcome::Success(8));
}

#[tokio::test(start_paused = true)]
async fn what_is_said_at_the_enqueue_is_stored() {
    let world = World::new();
    let job = echo::enqueue(&world.jobs, 7)
        .priority(Priority::High)
        .queue("special")
        .max_attempts(9)
        .max_crashes(2)
        .timeout(secs(7))
        .backoff(Backoff::constant(secs(3)).without_jitter())
        .expires(secs(50))
        .deadline(secs(90))
        .retain(secs(60))
        .header("tenant", "a")
        .tag("blue")
        .delay(secs(5))
        .await
        .unwrap();
    let stored = job.job().await.unwrap();
    assert_eq!(stored.spec.priority, Priority::High);
    assert_eq!(&*stored.spec.queue, "special");
    assert_eq!((stored.spec.max_attempts, stored.spec.max_crashes), (9, 2));
    assert_eq!(stored.spec.timeout, Some(secs(7)));
    let backoff = stored.spec.backoff.as_ref().map(|backoff| backoff.wait(4));
    assert_eq!(backoff, Some(secs(3)));
    let limits = (stored.spec.expires, stored.spec.deadline);
    assert_eq!(limits, (Some(secs(50)), Some(secs(90))));
    assert_eq!(stored.spec.retain, secs(60));
    assert_eq!(stored.spec.headers["tenant"], "a");
    assert_eq!(stored.spec.tags, ["blue"]);
    assert_eq!(stored.due_at.since(stored.created_at), secs(5));
}

#[tokio::test(start_paused = true)]
async fn a_time_out_and_a_backoff_of_the_job_s_own_hold_wherever_it_runs() {
    let world = World::new();
    let _running = world.start(registry(), &Probe::new()).await;
    // Its function says nothing: five minutes, and a second after the first error.
    let own = stubborn::enqueue(&world.jobs, ())
        .timeout(secs(2))
        .backoff(Backoff::constant(secs(40)).without_jitter())
        .max_attempts(2);
    let job = own.await.unwrap();
    let ended = job.ended().await.unwrap();
    let error = ended.last_error().unwrap().message().to_owned();
    assert_eq!(error, "not done within its timeout (2s)");
    let starts = world.log.starts(job.id());
    // The attempt, five seconds of grace, the wait.
    assert_eq!(starts[1] - starts[0], secs(2 + 5 + 40));
}

#[tokio::test(start_paused = true)]
async fn many_can_have_unique_keys_of_their_own() {
    let world = World::new();
    let before = echo::enqueue(&world.jobs, 1)
        .unique_key("k1")
        .await
        .unwrap();
    let all = echo::enqueue_all(&world.jobs, [1, 2, 2]);
    let all = all.unique_key_by(|n| format!("k{n}")).await.unwrap();
    let existing = [
        all[0].already_existed(),
        all[1].already_existed(),
        all[2].already_existed(),
    ];
    assert_eq!(existing, [true, false, true]);
    assert_eq!(all[0].id(), before.id());
    assert_eq!(all[2].id(), all[1].id());
    assert_eq!(world.count(JobState::Ready).await, 2);
}

#[tokio::test(start_paused = true)]
async fn a_unique_key_leads_to_the_live_job_that_has_it() {
    let world = World::new();
    let first = echo::enqueue(&world.jobs, 1).unique_key("k").await.unwrap();
    let second = echo::enqueue(&world.jobs, 2).unique_key("k").await.unwrap();
    assert!(!first.already_existed());
    assert!(second.already_existed());
    assert_eq!(second.id(), first.id());
    let _running = world.start(registry(), &Probe::new()).await;
    assert_eq!(second.result().await.unwrap(), 1);
    // The key is free again once its job is over.
    let third = echo::enqueue(&world.jobs, 3).unique_key("k").await.unwrap();
    assert!(!third.already_existed());
    assert_eq!(third.result().await.unwrap(), 3);
}

#[tokio::test(start_paused = true)]
async fn an_id_of_ones_own_makes_an_enqueue_repeatable() {
    let world = World::new();
    let id = JobId::from_key("order-17");
    let first = echo::enqueue(&world.jobs, 1).id(id).await.unwrap();
    let again = echo::enqueue(&world.jobs, 1).id(id).await.unwrap();
    assert!(!first.already_existed() && again.already_existed());
    assert_eq!((first.id(), again.id()), (id, id));
    // Maps have no order and types grow, so what it is called with is not compared.
    let grown = echo::enqueue(&world.jobs, 2).id(id).await.unwrap();
    assert_eq!((grown.id(), grown.already_existed()), (id, true));
    assert_eq!(grown.job().await.unwrap().spec.metadata.as_str(), "1");
    let bulk = echo::enqueue_all(&world.jobs, [3]).id_by(|_| id);
    assert!(bulk.await.unwrap()[0].already_existed());
    assert_eq!(world.count(JobState::Ready).await, 1);
}

#[tokio::test(start_paused = true)]
async fn an_id_of_another_function_is_refused_by_its_name() {
    let world = World::new();
    let id = JobId::from_key("17");
    echo::enqueue(&world.jobs, 1).id(id).await.unwrap();
    let one = renamed::enqueue(&world.jobs, 1).id(id).await.unwrap_err();
    let many = renamed::enqueue_all(&world.jobs, [1]).id_by(|_| id);
    for error in [one, many.await.unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        assert_eq!(error.job_id(), Some(id));
        let text = error.to_string();
        let says = [
            "a job of `echo` has this id",
            r#"JobId::from_key("renamed/17")"#,
        ];
        assert!(says.iter().all(|says| text.contains(says)), "{text}");
    }
}

#[job(name = "renamed", aliases = ["first_name", "second_name"])]
async fn renamed(n: u32) -> Outcome<u32> {
    Outcome::Success(n)
}

#[tokio::test(start_paused = true)]
async fn a_function_that_got_a_new_name_is_the_same_function() {
    let world = World::new();
    for old in ["first_name", "second_name"] {
        let id = JobId::from_key(old);
        world.jobs.enqueue_raw(old, 1).id(id).await.unwrap();
        let again = renamed::enqueue(&world.jobs, 2).id(id).await.unwrap();
        assert_eq!((again.id(), again.already_existed()), (id, true));
    }
    // What a program of before the change has stored.
    let old = world.jobs.enqueue_raw("first_name", 1).unique_key("k");
    let old = old.await.unwrap();
    let again = renamed::enqueue(&world.jobs, 2)
        .unique_key("k")
        .await
        .unwrap();
    assert_eq!((again.id(), again.already_existed()), (old.id(), true));
}

#[tokio::test(start_paused = true)]
async fn a_unique_key_belongs_to_its_function() {
    let world = World::new();
    let echoes = echo::enqueue(&world.jobs, 1).unique_key("k").await.unwrap();
    let other = renamed::enqueue(&world.jobs, 1)
        .unique_key("k")
        .await
        .unwrap();
    assert!(!other.already_existed() && other.id() != echoes.id());
    // A shared key of the same text is another one.
    let shared = echo::enqueue(&world.jobs, 1)
        .shared_unique_key("k")
        .await
        .unwrap();
    assert!(!shared.already_existed());
    let again = echo::enqueue(&world.jobs, 2)
        .shared_unique_key("k")
        .await
        .unwrap();
    assert_eq!((again.id(), again.already_existed()), (shared.id(), true));
    let refused = renamed::enqueue(&world.jobs, 1)
        .shared_unique_key("k")
        .await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::AlreadyExists);
    assert_eq!(refused.job_id(), Some(shared.id()));
    let text = refused.to_string();
    assert!(
        text.contains("a live job of `echo` has this unique key"),
        "{text}"
    );
}

#[tokio::test(start_paused = true)]
async fn whether_there_is_a_result_to_wait_for_is_the_holders_to_say() {
    let world = World::new();
    let holder = echo::enqueue(&world.jobs, 1).unique_key("k").await.unwrap();
    let existing = echo::enqueue(&world.jobs, 2)
        .unique_key("k")
        .retain(secs(0));
    let existing = existing.await.unwrap();
    let vanishing = echo::enqueue(&world.jobs, 1)
        .unique_key("v")
        .retain(secs(0));
    let vanishing = vanishing.await.unwrap();
    let unseen = echo::enqueue(&world.jobs, 2).unique_key("v").await.unwrap();
    let by_id = world.jobs.handle::<u32>(vanishing.id());
    for handle in [&vanishing, &unseen, &by_id] {
        let error = handle.result().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }
    let _running = world.start(registry(), &Probe::new()).await;
    assert_eq!(existing.id(), holder.id());
    assert_eq!(existing.result().await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn many_are_stored_in_batches_and_answered_in_order() {
    let world = World::new();
    let _running = world.start(registry(), &Probe::new()).await;
    let jobs = echo::enqueue_all(&world.jobs, 0..2500).await.unwrap();
    assert_eq!(world.store.faults().count(Call::Create), 3);
    for (n, job) in (0..).zip(&jobs) {
        assert_eq!(job.result().await.unwrap(), n);
    }
    let by = |n: &u32| JobId::from_key(format!("n-{n}"));
    let first = echo::enqueue_all(&world.jobs, [1, 2])
        .id_by(by)
        .await
        .unwrap();
    let again = echo::enqueue_all(&world.jobs, [2, 3])
        .id_by(by)
        .await
        .unwrap();
    assert_eq!(again[0].id(), first[1].id());
    assert_eq!(
        [again[0].already_existed(), again[1].already_existed()],
        [true, false]
    );
}

#[tokio::test(start_paused = true)]
async fn a_thousand_tasks_share_a_handful_of_creates() {
    let world = World::new();
    world
        .store
        .faults()
        .always(&[Call::Create], slow(millis(5)));
    let tasks: Vec<_> = (0..1000)
        .map(|n| {
            let jobs = world.jobs.clone();
            tokio::spawn(async move { echo::enqueue(&jobs, n).await.unwrap().id() })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let creates = world.store.faults().count(Call::Create);
    assert!((2..=4).contains(&creates), "{creates} creates");
    assert_eq!(world.count(JobState::Ready).await, 1000);
}

#[tokio::test(start_paused = true)]
async fn one_bad_job_does_not_hurt_its_batch() {
    let world = World::new();
    // The first two go alone and slowly, so that the rest gathers; their batch is refused as a
    // whole.
    world.store.faults().plan(|call, n| match (call, n) {
        (Call::Create, 1 | 2) => slow(millis(5)),
        (Call::Create, 3) => Fault::Lasting,
        _ => Fault::None,
    });
    let tasks: Vec<_> = (0..9)
        .map(|n| {
            let jobs = world.jobs.clone();
            tokio::spawn(async move { echo::enqueue(&jobs, n).await.is_ok() })
        })
        .collect();
    for task in tasks {
        assert!(task.await.unwrap());
    }
    assert_eq!(world.store.faults().count(Call::Create), 5);
    assert_eq!(world.count(JobState::Ready).await, 9);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_is_about_no_job_is_not_repeated_for_each() {
    let world = World::new();
    world.store.faults().always(&[Call::Create], Fault::Lasting);
    let error = echo::enqueue_all(&world.jobs, 0..5000).await.unwrap_err();
    assert!(!error.is_retryable());
    assert!(error.to_string().contains("stored: 0 of 5000"), "{error}");
    let creates = world.store.faults().count(Call::Create);
    assert!(creates <= 5, "{creates} creates");
}

#[tokio::test(start_paused = true)]
async fn many_in_front_of_a_store_that_hangs_are_answered_in_half_a_minute() {
    let world = World::new();
    // The first two batches are stored.
    world.store.faults().plan(|call, n| match (call, n) {
        (Call::Create, 3..) => Fault::Hang,
        _ => Fault::None,
    });
    let before = world.elapsed();
    let answers = echo::enqueue_all(&world.jobs, 0..100_000).each().await;
    let answers = answers.unwrap();
    assert!(world.elapsed() - before <= secs(31));
    assert_eq!(answers.iter().flatten().count(), 2000);
    assert_eq!(world.count(JobState::Ready).await, 2000);
    for answer in &answers[2000..] {
        let error = answer.as_ref().unwrap_err();
        assert!(error.is_retryable() && error.job_id().is_some(), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_enqueue_in_doubt_names_its_id_and_can_be_repeated() {
    let world = World::new();
    world.store.faults().once(&[Call::Create], Fault::After);
    let error = echo::enqueue(&world.jobs, 1).await.unwrap_err();
    assert!(error.is_retryable());
    let id = error.job_id().expect("the id is known");
    let again = echo::enqueue(&world.jobs, 1).id(id).await.unwrap();
    assert!(again.already_existed());
    assert_eq!(world.count(JobState::Ready).await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_enqueue_does_not_hold_up_the_next() {
    let world = World::new();
    world.store.faults().once(&[Call::Create], Fault::Hang);
    let jobs = world.jobs.clone();
    let lone = tokio::spawn(async move { echo::enqueue(&jobs, 1).await.map(drop) });
    let jobs = world.jobs.clone();
    let behind = tokio::spawn(async move { echo::enqueue(&jobs, 2).await.map(drop) });
    tokio::task::yield_now().await;
    lone.abort();
    behind.await.unwrap().unwrap();
}

#[tokio::test]
async fn who_enqueues_without_a_pause_lets_others_run() {
    let jobs = JobManager::connect("memory:").await.unwrap();
    let other = tokio::spawn(async {});
    let mut enqueued = 0;
    while !other.is_finished() {
        assert!(enqueued < 10_000, "nobody else ran");
        echo::enqueue(&jobs, 1).await.unwrap();
        enqueued += 1;
    }
}

#[test]
fn a_runtime_that_ends_does_not_leave_a_manager_stuck() {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().start_paused(true).build().unwrap()
    };
    let first = runtime();
    let world = first.block_on(async {
        let world = World::new();
        world.store.faults().always(&[Call::Create], Fault::Hang);
        for n in 0..3 {
            let jobs = world.jobs.clone();
            tokio::spawn(async move { echo::enqueue(&jobs, n).await.map(drop) });
        }
        // The lone one gives up after half a minute, and the others' batch is on its way then.
        crate::support::pass(secs(31)).await;
        world
    });
    drop(first);
    world.store.faults().heal();
    let stored = runtime().block_on(async {
        let enqueue = echo::enqueue(&world.jobs, 9);
        crate::support::within(secs(60), enqueue.into_future()).await
    });
    assert!(stored.is_ok(), "{stored:?}");
}

#[tokio::test(start_paused = true)]
async fn limits_are_refused_by_name_before_anything_is_stored() {
    let world = World::new();
    let check = |error: bgjob::Error, says: &str| {
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains(says), "{error}");
    };
    let raw = |n: usize| world.jobs.enqueue_raw("echo", "x".repeat(n));
    check(raw(300_000).await.unwrap_err(), "max_metadata");
    check(raw(1).queue("Bad").await.unwrap_err(), "queue names are");
    check(raw(1).max_attempts(0).await.unwrap_err(), "max_attempts");
    check(raw(1).delay(secs(u64::MAX)).await.unwrap_err(), "delay");
    let far = SystemTime::now() + secs(11 * 365 * 24 * 3600);
    check(raw(1).at(far).await.unwrap_err(), "`at` is more than ten");
    check(raw(1).max_crashes(0).await.unwrap_err(), "max_crashes");
    check(raw(1).timeout(secs(0)).await.unwrap_err(), "`timeout`");
    check(
        raw(1).timeout(secs(u64::MAX)).await.unwrap_err(),
        "`timeout`",
    );
    check(raw(1).expires(secs(0)).await.unwrap_err(), "`expires`");
    check(raw(1).deadline(secs(0)).await.unwrap_err(), "`deadline`");
    let function = Backoff::custom(|_| secs(1));
    check(raw(1).backoff(function).await.unwrap_err(), "`backoff`");
    static MANY: [Duration; 101] = [Duration::ZERO; 101];
    let steps = Backoff::steps(&MANY);
    check(raw(1).backoff(steps).await.unwrap_err(), "100 steps");
    check(raw(1).unique_key("").await.unwrap_err(), "unique_key");
    assert_eq!(world.store.faults().count(Call::Create), 0);
}

#[job(name = "expiring", expires = "10s")]
async fn expiring(_: ()) {}

#[tokio::test(start_paused = true)]
async fn a_job_that_nobody_starts_in_time_expires() {
    let world = World::new();
    let job = expiring::enqueue(&world.jobs, ()).await.unwrap();
    let registry = registry().with::<expiring>();
    crate::support::pass(secs(11)).await;
    let _running = world.start(registry, &Probe::new()).await;
    let ended = job.ended().await.unwrap();
    assert!(world.log.starts(job.id()).is_empty());
    assert!(matches!(
        ended.phase,
        Phase::Ended(ref end) if end.how == How::Dead(DeadReason::Expired)
    ));
    world
        .log
        .wait(|what| *what == What::Expired(job.id()))
        .await;
}
