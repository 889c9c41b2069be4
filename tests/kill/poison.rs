//! The scenarios `poison` and `oom`: one job that takes its process down, with which all others of
//! a thousand lie in the same hands. It must convict itself, and they must all end well.

use std::{
    iter,
    sync::Arc,
    time::{Duration, Instant},
};

use bgjob::{
    JobId, JobStore, Json,
    job::{Due, JobSpec, NewJob, limits},
    prelude::*,
};
use tokio::time::sleep;

use crate::{
    Ground,
    crew::{Crew, Terms},
    worker::{bystander, villain},
};

pub(crate) use crate::worker::Evil;

/// With the culprit they are as many as a process claims at once.
const INNOCENTS: usize = limits::BATCH - 1;
/// How many of them its process must have in hand: what it claims follows an estimate.
const FLOOR: usize = INNOCENTS * 9 / 10;
/// Jobs of no time, by which a worker learns that it may fetch a batch ahead.
const LESSONS: usize = 500;
/// A lesson that a busy machine held up makes the batch small. Then it is all done again.
const TRIES: usize = 3;
/// How long an innocent takes: none of them is through before the memory is used up.
const MILLIS: u64 = 1000;
/// Who goes on after the first death.
const HEIRS: usize = 2;
/// Room for a worker at work, and soon used up by one that hoards. Only addresses are counted, no
/// page of it is touched.
const MEMORY_KIB: u64 = 4 << 20;

pub(crate) async fn run(ground: &Ground, evil: Evil) -> bgjob::Result<Vec<String>> {
    // Each crash costs more time than the one before: 5 s, a minute.
    let crashes = if ground.options.long { 3 } else { 2 };
    let terms = Terms {
        memory: matches!(evil, Evil::Hoard).then_some(MEMORY_KIB),
        ..Terms::default()
    };
    let jobs = ground.store.open(&ground.folder).await?;
    for _ in 0..TRIES {
        let seen = poison(ground, &jobs, evil, terms, crashes).await?;
        seen.print(crashes);
        let faults = seen.faults(crashes);
        if seen.hit >= FLOOR || !faults.is_empty() {
            return Ok(faults);
        }
    }
    // So the run has not shown what it is for.
    Ok(vec!["too few lay in the same hands".to_owned()])
}

async fn poison(
    ground: &Ground,
    jobs: &JobManager,
    evil: Evil,
    terms: Terms,
    crashes: u32,
) -> bgjob::Result<Seen> {
    let patience = Duration::from_secs(if ground.options.long { 300 } else { 90 });
    let store = jobs.store().as_ref();
    // One alone, so that no other takes a share of the batch.
    let mut crew = Crew::start(ground, 1, terms);
    let lessons = bystander::enqueue_all(jobs, iter::repeat_n(0, LESSONS)).await?;
    let lessons: Vec<_> = lessons.iter().map(|handle| handle.id()).collect();
    within(patience, async || are_over(store, &lessons).await).await?;

    let begun = Instant::now();
    let batch = plant(store, evil, crashes).await?;
    let died = within(patience, async || Ok(crew.workers[0].ended().is_some())).await?;
    let mut deaths = usize::from(died);
    crew = Crew::start(ground, HEIRS, terms);
    within(patience, async || {
        deaths += crew.replace_dead().len();
        are_over(store, &batch).await
    })
    .await?;
    let seen = Seen {
        deaths,
        took: begun.elapsed(),
        ..Seen::look(store, &batch, crashes).await?
    };
    drop(crew);
    Ok(seen)
}

/// Asks until it is so, or for so long. Answers whether it is.
async fn within(
    patience: Duration,
    mut is: impl AsyncFnMut() -> bgjob::Result<bool>,
) -> bgjob::Result<bool> {
    let begun = Instant::now();
    while begun.elapsed() < patience {
        if is().await? {
            return Ok(true);
        }
        sleep(Duration::from_millis(50)).await;
    }
    Ok(false)
}

async fn are_over(store: &dyn JobStore, ids: &[JobId]) -> bgjob::Result<bool> {
    let found = store.get(ids).await?;
    Ok(found.iter().flatten().all(|job| job.state().is_terminal()))
}

/// Stores the villain and the innocents in one call, so that they are claimed in one, the villain
/// first. How many crashes it may see can't be said at an enqueue.
async fn plant(store: &dyn JobStore, evil: Evil, crashes: u32) -> bgjob::Result<Vec<JobId>> {
    let mut culprit = JobSpec::new(villain::NAME, Json::encode(&evil)?);
    culprit.max_crashes = crashes;
    // Not every store keeps the order of one call.
    culprit.priority = Priority::High;
    let innocent = Arc::new(JobSpec::new(bystander::NAME, Json::encode(&MILLIS)?));
    let specs = iter::once(Arc::new(culprit)).chain(iter::repeat_n(innocent, INNOCENTS));
    let jobs = specs.map(|spec| NewJob::new(JobId::new(), spec, Due::Now));
    let jobs: Vec<_> = jobs.collect();
    store.create(&jobs).await?;
    Ok(jobs.iter().map(|job| job.id).collect())
}

#[derive(Default)]
struct Seen {
    /// Of the innocents.
    succeeded: usize,
    /// Innocents that were in the hands of a process that died.
    hit: usize,
    worst: u32,
    /// Whether the culprit is, after as many crashes as it may see.
    dead: bool,
    deaths: usize,
    took: Duration,
}

impl Seen {
    /// What the store tells.
    async fn look(store: &dyn JobStore, batch: &[JobId], crashes: u32) -> bgjob::Result<Self> {
        let mut seen = Self::default();
        for job in store.get(batch).await?.into_iter().flatten() {
            if *job.spec.name == *villain::NAME {
                seen.dead = job.state() == JobState::Dead && job.crashes == crashes;
            } else {
                seen.succeeded += usize::from(job.state() == JobState::Succeeded);
                seen.hit += usize::from(job.crashes > 0);
                seen.worst = seen.worst.max(job.crashes);
            }
        }
        Ok(seen)
    }

    fn print(&self, crashes: u32) {
        let Self {
            succeeded,
            hit,
            worst,
            dead,
            deaths,
            took,
        } = self;
        println!("  innocents succeeded   {succeeded} of {INNOCENTS}");
        println!("  lay in its hands      {hit} (at least {FLOOR}); hit at most {worst} times");
        println!("  culprit dead          {dead}, after {crashes} crashes");
        println!("  processes that died   {deaths}");
        println!("  took                  {took:.1?}");
    }

    fn faults(&self, crashes: u32) -> Vec<String> {
        let goals = [
            (self.succeeded == INNOCENTS, "innocents did not succeed"),
            (self.dead, "the culprit is not dead"),
            (
                self.deaths == crashes as usize,
                "it did not take as many processes as it has crashes",
            ),
        ];
        let missed = goals.iter().filter(|(good, _)| !good);
        missed.map(|(_, what)| (*what).to_owned()).collect()
    }
}
