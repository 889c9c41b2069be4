//! The scenarios `poison` and `oom`: one job that takes its process down, among a thousand that
//! lie in the same hands. It must convict itself, and they must all end well.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bgjob::{
    JobId, JobStore, Json,
    job::{Due, JobSpec, NewJob},
    prelude::*,
};
use tokio::time::sleep;

use crate::{
    Ground,
    crew::{Crew, Terms},
    worker::{bystander, villain},
};

pub(crate) use crate::worker::Evil;

const INNOCENTS: u64 = 1000;
const WORKERS: usize = 2;
/// Room for a worker at work, and soon used up by one that hoards. Only addresses are counted, no
/// page of it is touched.
const MEMORY_KIB: u64 = 4 << 20;

pub(crate) async fn run(ground: &Ground, evil: Evil) -> bgjob::Result<Vec<String>> {
    // Each crash costs more time than the one before: 5 s, a minute.
    let crashes = if ground.options.long { 3 } else { 2 };
    let jobs = ground.store.open(&ground.folder).await?;
    // Those that take no time at all are through before the memory is.
    let millis = match evil {
        Evil::Abort => 0,
        Evil::Hoard => 20,
    };
    let half = || (0..INNOCENTS / 2).map(|_| millis);
    bystander::enqueue_all(&jobs, half()).await?;
    let culprit = plant(jobs.store().as_ref(), evil, crashes).await?;
    bystander::enqueue_all(&jobs, half()).await?;

    let begun = Instant::now();
    let memory = matches!(evil, Evil::Hoard).then_some(MEMORY_KIB);
    let mut crew = Crew::start(
        ground,
        WORKERS,
        Terms {
            memory,
            ..Terms::default()
        },
    );
    let mut deaths = 0;
    let patience = Duration::from_secs(if ground.options.long { 300 } else { 90 });
    while begun.elapsed() < patience && !over(&jobs).await? {
        deaths += crew.replace_dead().len();
        sleep(Duration::from_millis(50)).await;
    }
    let took = begun.elapsed();
    drop(crew);
    let innocents = innocents(&jobs).await?;
    let dead = jobs.get(culprit).await?;
    let dead = dead.is_some_and(|job| job.state() == JobState::Dead && job.crashes == crashes);
    println!(
        "  innocents succeeded   {} of {INNOCENTS}",
        innocents.succeeded
    );
    println!(
        "  of them hit           {}, at most {} times",
        innocents.hit, innocents.worst
    );
    println!("  culprit dead          {dead}, after {crashes} crashes");
    println!("  processes that died   {deaths}");
    println!("  took                  {took:.1?}");
    let goals = [
        (
            innocents.succeeded == INNOCENTS,
            "innocents did not succeed",
        ),
        (dead, "the culprit is not dead"),
        (
            deaths == crashes as usize,
            "it did not take as many processes as it has crashes",
        ),
        // Otherwise nothing was in its process's hands, and the run has shown nothing.
        (innocents.hit > 0, "nobody was hit"),
    ];
    let missed = goals.iter().filter(|(good, _)| !good);
    Ok(missed.map(|(_, what)| (*what).to_owned()).collect())
}

/// Stores the villain; how many crashes it may see can't be said at an enqueue.
async fn plant(store: &dyn JobStore, evil: Evil, crashes: u32) -> bgjob::Result<JobId> {
    let mut spec = JobSpec::new(villain::NAME, Json::encode(&evil)?);
    spec.max_crashes = crashes;
    let job = NewJob {
        id: JobId::new(),
        spec: Arc::new(spec),
        due: Due::Now,
    };
    let id = job.id;
    store.create(&[job]).await?;
    Ok(id)
}

async fn over(jobs: &JobManager) -> bgjob::Result<bool> {
    let counts = jobs.counts().await?;
    let over = counts.iter().filter(|count| count.state.is_terminal());
    Ok(over.map(|count| count.jobs).sum::<u64>() == INNOCENTS + 1)
}

#[derive(Default)]
struct Innocents {
    succeeded: u64,
    /// Those that were in the hands of a process that died.
    hit: u64,
    worst: u32,
}

async fn innocents(jobs: &JobManager) -> bgjob::Result<Innocents> {
    let mut all = Innocents::default();
    let list = jobs.list().name(bystander::NAME).limit(INNOCENTS as usize);
    for job in list.await?.jobs {
        all.succeeded += u64::from(job.state() == JobState::Succeeded);
        all.hit += u64::from(job.crashes > 0);
        all.worst = all.worst.max(job.crashes);
    }
    Ok(all)
}
