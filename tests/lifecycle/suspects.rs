//! Jobs that a process died with: they never wait in hand; with one chance left they are claimed
//! one at a time, into free slots, and convicted at the third crash.

use bgjob::{
    JobId, JobQueue as _, JobState,
    job::{AttemptEnd, DeadReason, How, Phase},
    queue::Hint,
};

use crate::support::{Call, Probe, What, World, jobs::*, millis, pass, secs, slow};

/// Lets a process die with these jobs, and waits until they are ready again.
async fn crash(world: &World, ids: &[JobId], name: &str) {
    world.claim_and_die(ids, &[name]).await;
    let running = world
        .start(bgjob::Registry::new().with::<echo>(), &Probe::new())
        .await;
    pass(secs(36)).await;
    running.shutdown().await;
    for id in ids {
        assert_eq!(world.job(*id).await.crashes, 1);
    }
}

/// Lets processes die with these jobs twice, so that they have one chance left, and are due.
async fn suspect(world: &World, ids: &[JobId], name: &str) {
    crash(world, ids, name).await;
    pass(secs(5)).await;
    world.claim_and_die(ids, &[name]).await;
    let other = bgjob::Registry::new().with::<echo>();
    let running = world.start(other, &Probe::new()).await;
    pass(secs(36 + 60)).await;
    running.shutdown().await;
    for id in ids {
        assert_eq!(world.job(*id).await.crashes, 2);
    }
}

/// What a crash of the machine interrupted is soon done: a thousand jobs of a second.
#[tokio::test(start_paused = true)]
async fn what_crashed_once_runs_again_at_full_width() {
    let world = World::new();
    let jobs = takes::enqueue_all(&world.jobs, vec![1_000; 1_000]);
    let jobs = jobs.await.unwrap();
    let ids: Vec<_> = jobs.iter().map(|job| job.id()).collect();
    world.claim_and_die(&ids, &["takes"]).await;
    let died = tokio::time::Instant::now();
    let probe = Probe::new();
    let builder = world.dispatcher(registry()).state(probe.clone());
    let _running = builder.slots("default", 100).start().await.unwrap();
    for job in &jobs {
        job.result().await.unwrap();
    }
    let lease = secs(30);
    assert!(died.elapsed() <= lease + secs(30), "{:?}", died.elapsed());
    assert_eq!(probe.most(), 100);
}

/// Jobs were so short that a thousand are taken ahead: of those that crashed none waits in hand.
#[tokio::test(start_paused = true)]
async fn what_crashed_once_never_waits_in_hand() {
    let world = World::new();
    let jobs = takes::enqueue_all(&world.jobs, vec![10_000; 20]);
    let jobs = jobs.await.unwrap();
    let ids: Vec<_> = jobs.iter().map(|job| job.id()).collect();
    crash(&world, &ids, "takes").await;
    let builder = world.dispatcher(registry()).state(Probe::new());
    let running = builder.slots("default", 2).start().await.unwrap();
    let short = echo::enqueue_all(&world.jobs, 0..500).await.unwrap();
    for job in &short {
        job.result().await.unwrap();
    }
    pass(secs(6)).await;
    while world.count(JobState::Succeeded).await < 520 {
        assert!(world.count(JobState::Running).await <= 2);
        assert_eq!(running.health().waiting, 0);
        pass(millis(100)).await;
    }
    // Nor is it taken and given back all the time.
    let given_back = world.log.count(|what| matches!(what, What::Recorded(..))) - 520;
    assert!(given_back <= 20, "{given_back}");
}

#[tokio::test(start_paused = true)]
async fn suspects_run_one_at_a_time_while_others_fill_the_slots() {
    let world = World::new();
    let suspects = takes::enqueue_all(&world.jobs, [10_000; 4]).await.unwrap();
    let ids: Vec<_> = suspects.iter().map(|job| job.id()).collect();
    suspect(&world, &ids, "takes").await;
    let probe = Probe::new();
    let _running = world.start(registry(), &probe).await;
    let begun = tokio::time::Instant::now();
    let innocent = takes::enqueue_all(&world.jobs, [60_000; 3]).await.unwrap();
    for job in &suspects {
        job.result().await.unwrap();
    }
    // Three that are innocent and one suspect, never two.
    assert_eq!(probe.most(), 4);
    let mut starts: Vec<_> = ids.iter().map(|id| world.log.starts(*id)[0]).collect();
    starts.sort();
    for pair in starts.windows(2) {
        let gap = pair[1] - pair[0];
        assert!((secs(10)..secs(11)).contains(&gap), "{gap:?}");
    }
    assert!(begun.elapsed() < secs(50));
    for job in innocent {
        job.result().await.unwrap();
    }
}

/// One of three hundred was the killer; the others should not wait for long.
#[tokio::test(start_paused = true)]
async fn the_innocent_of_a_large_batch_are_soon_through() {
    let world = World::new();
    let jobs = takes::enqueue_all(&world.jobs, vec![1; 300]).await.unwrap();
    let ids: Vec<_> = jobs.iter().map(|job| job.id()).collect();
    suspect(&world, &ids, "takes").await;
    let _running = world.start(registry(), &Probe::new()).await;
    let begun = tokio::time::Instant::now();
    for job in &jobs {
        job.result().await.unwrap();
    }
    assert!(begun.elapsed() < secs(15), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_suspect_waits_for_a_free_slot() {
    let world = World::new();
    let suspect = takes::enqueue(&world.jobs, 1).await.unwrap();
    self::suspect(&world, &[suspect.id()], "takes").await;
    // So short jobs that much is taken ahead, then long ones in all slots.
    let probe = Probe::new();
    let builder = world
        .dispatcher(registry())
        .state(probe.clone())
        .slots("default", 2);
    let _running = builder.start().await.unwrap();
    let busy = takes::enqueue_all(&world.jobs, [60_000; 2]).priority(bgjob::Priority::High);
    let busy = busy.await.unwrap();
    pass(secs(20)).await;
    // It may have got a slot before the others did; else it is still in the store.
    if world.log.starts(suspect.id()).is_empty() {
        assert_eq!(world.state(suspect.id()).await, JobState::Ready);
    }
    suspect.result().await.unwrap();
    for job in busy {
        job.result().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_killer_is_convicted_at_its_third_crash_with_its_history() {
    let world = World::new();
    let killer = takes::enqueue(&world.jobs, 1).await.unwrap();
    // A dispatcher that does not serve it sweeps.
    let other = bgjob::Registry::new().with::<echo>();
    let _running = world.start(other, &Probe::new()).await;
    for (crashes, backoff) in [(1, 5), (2, 60), (3, 0)] {
        world.claim_and_die(&[killer.id()], &["takes"]).await;
        let died = tokio::time::Instant::now();
        let id = killer.id();
        let revoked = |what: &What| matches!(what, What::Revoked(job, _) if *job == id);
        world.log.nth(crashes, revoked).await;
        assert!(died.elapsed() <= secs(35));
        let job = world.job(killer.id()).await;
        assert_eq!(job.crashes as usize, crashes);
        if crashes < 3 {
            let wait = job.due_at.since(job.history[crashes - 1].ended_at);
            assert_eq!(wait, secs(backoff));
            pass(wait + millis(1)).await;
        }
    }
    let ended = killer.ended().await.unwrap();
    assert!(matches!(
        ended.phase,
        Phase::Ended(ref end) if end.how == How::Dead(DeadReason::Crashes)
    ));
    assert_eq!((ended.errors, ended.history.len()), (0, 3));
    let crashed = |end: &AttemptEnd| matches!(end, AttemptEnd::Crashed { .. });
    assert!(ended.history.iter().all(|attempt| crashed(&attempt.end)));
    let error = killer.result().await.unwrap_err();
    assert!(error.to_string().contains("crashes"), "{error}");
}

/// The store is slow and hints come in at odd times, so that claims by hint and looks of one's own
/// are on their way together.
#[tokio::test(start_paused = true)]
async fn there_is_one_suspect_at_a_time_with_a_queue_too() {
    let world = World::with_queue();
    let suspects = takes::enqueue_all(&world.jobs, [3_000; 20]).await.unwrap();
    let ids: Vec<_> = suspects.iter().map(|job| job.id()).collect();
    suspect(&world, &ids, "takes").await;
    let claims = &[Call::Claim, Call::ClaimReady, Call::FinishAndClaim];
    world.store.faults().always(claims, slow(millis(400)));
    let probe = Probe::new();
    let _running = world.start(registry(), &probe).await;
    let hints: Vec<_> = ids.iter().map(|id| hint(*id)).collect();
    for n in 0..60 {
        pass(millis(1_500 + 37 * n % 900)).await;
        world.queue.as_ref().unwrap().push(&hints).await.unwrap();
    }
    world.all_over().await;
    assert_eq!(world.count(JobState::Succeeded).await, 20);
    assert_eq!(probe.most(), 1);
}

fn hint(id: JobId) -> Hint {
    Hint::new(id, "default", bgjob::Priority::Normal)
}
