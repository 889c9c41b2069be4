//! Many jobs at once, by what they have in common.

use std::sync::{Arc, Mutex};

use bgjob::{Due, ErrorKind, Filter, JobError, JobId, JobState, Registry, job, job::DeadReason};

use crate::support::{Call, Fault, Probe, World, jobs::*, pass, secs};

/// Is always wrong, and says of what.
#[job(name = "wrong", max_attempts = 1)]
async fn wrong(of: String) -> Result<(), String> {
    Err(format!("the {of} is broken"))
}

#[job(name = "hopeless")]
async fn hopeless(_: u32) -> Result<u32, JobError> {
    Err(JobError::abort("never"))
}

fn failing() -> Registry {
    registry().with::<wrong>().with::<hopeless>()
}

/// So many jobs that are dead as this is broken.
async fn dead(world: &World, of: &str, count: usize) -> Vec<JobId> {
    let running = world.start(failing(), &Probe::new()).await;
    let jobs = wrong::enqueue_all(&world.jobs, vec![of.to_owned(); count]);
    let jobs = jobs.await.unwrap();
    while world.count(JobState::Ready).await + world.count(JobState::Running).await > 0 {
        pass(secs(1)).await;
    }
    let _ = running.shutdown().await;
    jobs.iter().map(|job| job.id()).collect()
}

#[tokio::test(start_paused = true)]
async fn the_dead_of_an_incident_run_once_more() {
    for world in [World::new(), World::with_queue()] {
        dead(&world, "disk", 2500).await;
        dead(&world, "net", 5).await;
        let told = Arc::new(Mutex::new(Vec::new()));
        let tell = Arc::clone(&told);
        let disks = world
            .jobs
            .select()
            .name("wrong")
            .error("the disk")
            .requeue();
        assert_eq!(disks.count().await.unwrap(), 2500, "a dry run");
        assert_eq!(world.count(JobState::Dead).await, 2505, "changes nothing");
        let disks = disks.on_progress(move |so_far| tell.lock().unwrap().push(so_far.done));
        let done = disks.await.unwrap();
        assert_eq!((done.done, done.refused, done.key_taken), (2500, 0, 0));
        assert_eq!(*told.lock().unwrap(), [1000, 2000, 2500]);
        assert_eq!(world.count(JobState::Ready).await, 2500);
        assert_eq!(world.count(JobState::Dead).await, 5);
        // They are run, and dead again.
        let running = world.start(failing(), &Probe::new()).await;
        pass(secs(30)).await;
        assert_eq!(world.count(JobState::Dead).await, 2505);
        let _ = running.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_requeue_ends_although_its_jobs_die_again_at_once() {
    let world = World::new();
    dead(&world, "disk", 50).await;
    let _running = world.start(failing(), &Probe::new()).await;
    // As many again die while it is at work.
    let done = world.jobs.select().state(JobState::Dead).requeue();
    let done = done.on_progress(|_| {}).await.unwrap();
    assert_eq!(done.done, 50);
}

#[tokio::test(start_paused = true)]
async fn without_a_state_a_requeue_is_about_the_dead() {
    let world = World::new();
    let running = world.start(failing(), &Probe::new()).await;
    let well = echo::enqueue(&world.jobs, 1).await.unwrap();
    well.result().await.unwrap();
    let job = hopeless::enqueue(&world.jobs, 1).await.unwrap();
    job.result().await.unwrap_err();
    let _ = running.shutdown().await;
    let done = world.jobs.select().requeue().await.unwrap();
    assert_eq!(done.done, 1);
    assert_eq!(job.status().await.unwrap(), JobState::Ready);
    let done = world.jobs.select().state(JobState::Succeeded).requeue();
    assert_eq!(done.await.unwrap().done, 1);
    assert_eq!(well.status().await.unwrap(), JobState::Ready);
    let dead = world.jobs.select().reason(DeadReason::Aborted);
    assert_eq!(dead.requeue().count().await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_waits_and_what_runs_is_cancelled() {
    let world = World::new();
    let probe = Probe::new();
    let _running = world.start(registry(), &probe).await;
    let mut all = Vec::new();
    for n in 0..3 {
        all.push(polite::enqueue(&world.jobs, ()).await.unwrap().id());
        let later = echo::enqueue(&world.jobs, n).delay(secs(3600));
        all.push(later.await.unwrap().id());
    }
    let other = echo::enqueue(&world.jobs, 7)
        .queue("other")
        .delay(secs(3600));
    let other = other.await.unwrap();
    pass(secs(1)).await;
    let cancel = world.jobs.select().queue("default").cancel();
    assert_eq!(cancel.count().await.unwrap(), 6);
    assert_eq!(cancel.await.unwrap().done, 6);
    pass(secs(1)).await;
    assert_eq!(world.count(JobState::Cancelled).await, 6);
    assert_eq!(other.status().await.unwrap(), JobState::Ready);
    let done = world.jobs.select().delete().await.unwrap();
    assert_eq!(done.done, 6);
    for id in all {
        assert!(world.jobs.get(id).await.unwrap().is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn what_waits_is_brought_forward() {
    for world in [World::new(), World::with_queue()] {
        let _running = world.start(registry(), &Probe::new()).await;
        let jobs = echo::enqueue_all(&world.jobs, 0..5).delay(secs(86_400));
        let jobs = jobs.await.unwrap();
        let tomorrow = world.jobs.list().newest().limit(1).await.unwrap().jobs[0].due_at;
        let soon = world.jobs.select().due(tomorrow..).reschedule(Due::Now);
        assert_eq!(soon.await.unwrap().done, 5);
        let begun = tokio::time::Instant::now();
        for job in jobs {
            job.result().await.unwrap();
        }
        assert!(begun.elapsed() < secs(1), "{:?}", begun.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn what_failed_half_way_goes_on_with_the_rest() {
    let world = World::new();
    dead(&world, "disk", 1500).await;
    let requeue = || world.jobs.select().name("wrong").requeue();
    let faults = world.store.faults().clone();
    faults.once(&[Call::Operate], Fault::After);
    let error = requeue().await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
    assert_eq!(world.count(JobState::Ready).await, 1000, "this was done");
    let done = requeue().await.unwrap();
    assert_eq!(done.done, 500);
    assert_eq!(world.count(JobState::Ready).await, 1500);
}

#[tokio::test(start_paused = true)]
async fn a_state_that_does_not_fit_is_refused_in_words() {
    let world = World::new();
    let ready = || world.jobs.select().state(JobState::Ready);
    for (refused, says) in [
        (ready().requeue(), "over can be requeued"),
        (ready().delete(), "over can be deleted"),
        (
            world.jobs.select().state(JobState::Dead).cancel(),
            "waits or runs can be cancelled",
        ),
        (
            world
                .jobs
                .select()
                .state(JobState::Running)
                .reschedule(Due::Now),
            "waits can be rescheduled",
        ),
    ] {
        let error = refused.await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains(says), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn pages_go_forth_and_back() {
    let world = World::new();
    let jobs = echo::enqueue_all(&world.jobs, 0..25).await.unwrap();
    let ids: Vec<_> = jobs.iter().map(|job| job.id()).collect();
    for newest in [false, true] {
        let list = || {
            let list = world
                .jobs
                .list()
                .filter(Filter::default().name("echo"))
                .limit(10);
            if newest { list.newest() } else { list }
        };
        let mut expected = ids.clone();
        if newest {
            expected.reverse();
        }
        let of = |page: &bgjob::Page| page.jobs.iter().map(|job| job.id).collect::<Vec<_>>();
        let first = list().await.unwrap();
        assert!(first.previous.is_none());
        let second = list().after(first.next.unwrap()).await.unwrap();
        let third = list().after(second.next.unwrap()).await.unwrap();
        assert_eq!(of(&third), expected[20..]);
        assert!(third.next.is_none());
        let back = list().before(third.previous.unwrap()).await.unwrap();
        assert_eq!(of(&back), expected[10..20]);
        let begin = list().before(back.previous.unwrap()).await.unwrap();
        assert_eq!(of(&begin), expected[..10]);
        assert!(begin.previous.is_none());
        let again = list().after(begin.next.unwrap()).await.unwrap();
        assert_eq!(of(&again), expected[10..20]);
    }
}
