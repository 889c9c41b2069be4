//! Jobs by their id: lists, counts, and what an operator does.

use std::time::Duration;

use bgjob::{Due, ErrorKind, JobId, JobState, QueueCounts};

use crate::support::{Probe, World, jobs::*, pass, secs};

#[tokio::test(start_paused = true)]
async fn lists_are_filtered_and_come_in_pages() {
    let world = World::new();
    let all = echo::enqueue_all(&world.jobs, 0..25)
        .tag("t")
        .await
        .unwrap();
    takes::enqueue(&world.jobs, 1).queue("other").await.unwrap();
    let mut found = Vec::new();
    let mut after = None;
    loop {
        let mut list = world.jobs.list().name("echo").tag("t").limit(10);
        if let Some(cursor) = after {
            list = list.after(cursor);
        }
        let page = list.await.unwrap();
        found.extend(page.jobs.iter().map(|job| job.id));
        // A cursor survives being text.
        match page.next {
            Some(next) => after = Some(next.to_string().parse().unwrap()),
            None => break,
        }
    }
    let ids: Vec<_> = all.iter().map(|job| job.id()).collect();
    assert_eq!(found, ids);
    let other = world.jobs.list().queue("other").await.unwrap();
    assert_eq!(other.jobs.len(), 1);
    let ended = world.jobs.list().state(JobState::Succeeded).await.unwrap();
    assert!(ended.jobs.is_empty() && ended.next.is_none());
}

#[tokio::test(start_paused = true)]
async fn counts_are_per_queue_and_name() {
    let world = World::new();
    echo::enqueue_all(&world.jobs, 0..3).await.unwrap();
    let other = echo::enqueue_all(&world.jobs, 0..2)
        .queue("a")
        .await
        .unwrap();
    other[0].cancel().await.unwrap();
    let mut expected = [("a", 1, 1), ("default", 3, 0)].map(|(queue, due, cancelled)| {
        let mut counts = QueueCounts::new(queue, "echo");
        (counts.due, counts.cancelled) = (due, cancelled);
        counts.oldest_due_age = Some(Duration::ZERO);
        counts
    });
    assert_eq!(world.jobs.counts().await.unwrap(), expected);
    pass(secs(7)).await;
    for counts in &mut expected {
        counts.oldest_due_age = Some(secs(7));
    }
    assert_eq!(world.jobs.counts().await.unwrap(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_is_over_can_be_run_once_more() {
    for world in [World::new(), World::with_queue()] {
        let _running = world.start(registry(), &Probe::new()).await;
        let job = echo::enqueue(&world.jobs, 1).await.unwrap();
        job.result().await.unwrap();
        pass(secs(5)).await;
        let again = tokio::time::Instant::now();
        world.jobs.requeue(job.id()).await.unwrap();
        assert_eq!(job.result().await.unwrap(), 1);
        assert!(again.elapsed() < secs(1), "{:?}", again.elapsed());
        let stored = job.job().await.unwrap();
        assert_eq!((stored.epoch, stored.errors), (1, 0));
        assert_eq!(world.log.starts(job.id()).len(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_waiting_job_can_be_edited_and_brought_forward() {
    for world in [World::new(), World::with_queue()] {
        let _running = world.start(registry(), &Probe::new()).await;
        let job = echo::enqueue(&world.jobs, 1)
            .delay(secs(3_600))
            .await
            .unwrap();
        let read = job.job().await.unwrap();
        world.jobs.edit(&read, &2).await.unwrap();
        let stale = world.jobs.edit(&read, &3).await.unwrap_err();
        assert_eq!(stale.kind(), ErrorKind::Conflict);
        pass(secs(5)).await;
        let begun = tokio::time::Instant::now();
        world.jobs.reschedule(job.id(), Due::Now).await.unwrap();
        assert_eq!(job.result().await.unwrap(), 2);
        assert!(begun.elapsed() < secs(1), "{:?}", begun.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_state_does_not_allow_is_refused_in_words() {
    let world = World::new();
    let _running = world.start(registry(), &Probe::new()).await;
    let over = echo::enqueue(&world.jobs, 1).await.unwrap();
    over.result().await.unwrap();
    let waits = echo::enqueue(&world.jobs, 1).delay(secs(60)).await.unwrap();
    let jobs = &world.jobs;
    let check = |answer: bgjob::Result<()>, kind: ErrorKind, says: &str| {
        let error = answer.unwrap_err();
        assert_eq!(error.kind(), kind);
        assert!(error.to_string().contains(says), "{error}");
        assert!(error.job_id().is_some());
    };
    let conflict = ErrorKind::Conflict;
    check(
        jobs.cancel(over.id()).await.map(drop),
        conflict,
        "this one is succeeded",
    );
    check(
        jobs.reschedule(over.id(), Due::Now).await,
        conflict,
        "only a waiting job",
    );
    check(
        jobs.requeue(waits.id()).await,
        conflict,
        "only a job that is over",
    );
    check(jobs.delete(waits.id()).await, conflict, "cancel it first");
    check(
        jobs.delete(JobId::new()).await,
        ErrorKind::NotFound,
        "no such job",
    );
    let read = jobs.get(over.id()).await.unwrap().unwrap();
    check(jobs.edit(&read, &1).await, conflict, "only a waiting job");
    let large = jobs.get(waits.id()).await.unwrap().unwrap();
    let edit = jobs.edit(&large, &"x".repeat(300_000)).await;
    assert_eq!(edit.unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[tokio::test(start_paused = true)]
async fn what_is_over_is_forgotten_when_its_time_has_come_or_when_told() {
    let world = World::new();
    let running = world.start(registry(), &Probe::new()).await;
    let told = echo::enqueue(&world.jobs, 1).await.unwrap();
    let kept = echo::enqueue(&world.jobs, 2).await.unwrap();
    let short = echo::enqueue(&world.jobs, 3)
        .retain(secs(60))
        .await
        .unwrap();
    for job in [&told, &kept, &short] {
        job.result().await.unwrap();
    }
    world.jobs.delete(told.id()).await.unwrap();
    pass(secs(70)).await;
    let there = async |id| world.jobs.get(id).await.unwrap().is_some();
    assert!(!there(told.id()).await && !there(short.id()).await && there(kept.id()).await);
    running.shutdown().await;
    pass(secs(24 * 3_600)).await;
    assert_eq!(world.jobs.purge().await.unwrap(), 1);
    assert!(!there(kept.id()).await);
}
