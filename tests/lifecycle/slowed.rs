//! A job that asks to run again at once, again and again, is slowed down.

use std::time::Duration;

use bgjob::{JobError, JobId, Registry, State, job};

use crate::support::{Lines, Probe, World, millis, pass, secs};

/// Is never done.
#[job(
    name = "spin",
    max_attempts = 1000,
    backoff = "constant(0s)",
    timeout = "1h"
)]
async fn spin(how: String, probe: State<Probe>) -> Result<(), JobError> {
    let _inside = probe.enter();
    match &*how {
        "snooze" => Err(JobError::snooze(Duration::ZERO)),
        "soon" => Err(JobError::snooze(millis(99))),
        "second" => Err(JobError::snooze(secs(1))),
        "retry" => Err(JobError::retry_in(Duration::ZERO, "again")),
        _ => Err(JobError::retry("again")),
    }
}

async fn spun(world: &World, how: &str) -> JobId {
    let registry = Registry::new().with::<spin>();
    let running = world.start(registry, &Probe::new()).await;
    let job = spin::enqueue(&world.jobs, how.to_owned()).await.unwrap();
    pass(secs(10)).await;
    let slowed = running.health().slowed;
    running.shutdown().await;
    let starts = world.log.starts(job.id()).len();
    assert_eq!(slowed > 0, how != "second", "{how}: {slowed}");
    assert!(
        slowed <= starts.saturating_sub(10),
        "{how}: {slowed} of {starts}"
    );
    job.id()
}

#[tokio::test(start_paused = true)]
async fn from_its_eleventh_start_on_a_job_waits_a_tenth_of_a_second() {
    for how in ["snooze", "retry", "backoff"] {
        let (lines, _guard) = Lines::listen();
        let world = World::new();
        let id = spun(&world, how).await;
        let starts = world.log.starts(id);
        let waits: Vec<_> = starts.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(
            waits[..10].iter().all(|wait| *wait < millis(10)),
            "{how}: {waits:?}"
        );
        assert!(
            waits[10..].iter().all(|wait| *wait >= millis(100)),
            "{how}: {waits:?}"
        );
        assert!(
            (60..=111).contains(&starts.len()),
            "{how}: {}",
            starts.len()
        );
        let warned = lines.warnings();
        let warned = warned
            .iter()
            .filter(|line| line.contains("again and again"));
        assert_eq!(warned.count(), 1, "{how}: told once");
    }
}

#[tokio::test(start_paused = true)]
async fn longer_waits_are_left_alone() {
    let world = World::new();
    let id = spun(&world, "second").await;
    assert_eq!(world.log.starts(id).len(), 10);
    spun(&World::new(), "soon").await;
}
