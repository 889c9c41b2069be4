//! The scenario `shutdown`: workers are asked to end at random moments, also just after they were
//! started, under a steady load. Nothing may be lost, and no job may pay for it.

use std::{
    collections::BTreeSet,
    process::ExitStatus,
    sync::Arc,
    time::{Duration, Instant},
};

use bgjob::{JobId, prelude::*};
use tokio::time::sleep;

use crate::{
    Ground,
    crew::{Crew, Terms, by_signal},
    ledger::{Ledger, Tail},
    load,
    watch::Watch,
};

const WORKERS: usize = 3;
/// Shorter than the longest jobs, so that some are given back.
const DRAIN: Duration = Duration::from_secs(1);
/// What is promised: the drain and five seconds.
const MOST: Duration = DRAIN.saturating_add(Duration::from_secs(5));
/// A disk that stalls for as long as the short lease of the other scenarios would cost crashes that
/// no shutdown is to blame for.
const TERMS: Terms = Terms {
    lease: Duration::from_secs(30),
    drain: DRAIN,
    memory: None,
};
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Default)]
struct Seen {
    exits: Vec<Duration>,
    /// Ended by the signal itself, before there was a dispatcher to hear it.
    unheard: usize,
    /// Neither ended well nor by the signal.
    bad: usize,
    released: u64,
}

pub(crate) async fn run(ground: &Ground) -> bgjob::Result<Vec<String>> {
    let points = if ground.options.long { 200 } else { 20 };
    let points = ground.options.kills.unwrap_or(points);
    let jobs = ground.store.open(&ground.folder).await?;
    let ledger = Arc::new(Ledger::open(&ground.folder));
    let mut crew = Crew::start(ground, WORKERS, TERMS);
    // As long as there is somebody to shut down; what is made by then has to end well.
    let load = load::produce(
        jobs.clone(),
        Arc::clone(&ledger),
        0,
        |_| true,
        ground.pace(),
    );
    let load = tokio::spawn(load);
    let mut seen = Seen::default();
    strike(&mut crew, points, &mut seen).await;
    load.abort();
    let all_over = Watch::new(ground, &jobs, &ledger)
        .until_over(&load, PATIENCE)
        .await;
    drop(crew);
    let told = Tail::new(&ground.folder).more();
    let released = told.iter().filter(|line| line.what == "released");
    seen.released = released.map(|line| line.n).sum();
    let acked = told.iter().filter(|line| line.what == "acked");
    // A released job that enqueues a child may acknowledge it twice.
    let acked: BTreeSet<JobId> = acked.filter_map(|line| line.about.parse().ok()).collect();
    let costs = costs(&jobs, &Vec::from_iter(acked)).await?;
    seen.print(&costs);
    Ok(seen.faults(&costs, all_over, points))
}

async fn strike(crew: &mut Crew, points: usize, seen: &mut Seen) {
    let mut dice = fastrand::Rng::with_seed(points as u64);
    let mut victim = 0;
    for n in 0..points {
        // Every fourth one is the newest, in its first moments.
        let within = if n % 4 == 3 {
            150
        } else {
            victim = n % WORKERS;
            1000
        };
        sleep(Duration::from_millis(dice.u64(..within))).await;
        crew.workers[victim].terminate();
        match exit(crew, victim).await {
            Some((end, took)) => {
                seen.exits.push(took);
                seen.unheard += usize::from(by_signal(end));
                seen.bad += usize::from(!end.success() && !by_signal(end));
            }
            None => seen.bad += 1,
        }
        crew.replace(victim);
    }
    seen.exits.sort();
}

/// How the worker ended and how long that took, if it did within what is promised.
async fn exit(crew: &mut Crew, victim: usize) -> Option<(ExitStatus, Duration)> {
    let begun = Instant::now();
    while begun.elapsed() <= MOST {
        if let Some(end) = crew.workers[victim].ended() {
            return Some((end, begun.elapsed()));
        }
        sleep(Duration::from_millis(5)).await;
    }
    crew.workers[victim].kill();
    None
}

/// What the shutdowns cost the jobs.
#[derive(Default)]
struct Costs {
    acked: usize,
    lost: usize,
    errors: u32,
    crashes: u32,
}

async fn costs(jobs: &JobManager, acked: &[JobId]) -> bgjob::Result<Costs> {
    let mut costs = Costs {
        acked: acked.len(),
        ..Costs::default()
    };
    for ids in acked.chunks(1000) {
        for job in jobs.store().get(ids).await? {
            match job {
                Some(job) if job.state() == JobState::Succeeded => {
                    costs.errors += job.errors;
                    costs.crashes += job.crashes;
                }
                _ => costs.lost += 1,
            }
        }
    }
    Ok(costs)
}

impl Seen {
    fn print(&self, costs: &Costs) {
        let last = self.exits.last().copied().unwrap_or_default();
        let middle = self.exits.get(self.exits.len() / 2).copied();
        let middle = middle.unwrap_or_default();
        println!("  acked                 {}", costs.acked);
        println!("  lost                  {}", costs.lost);
        println!("  errors spent          {}", costs.errors);
        println!("  crashes spent         {}", costs.crashes);
        println!("  released              {}", self.released);
        println!("  exits                 p50 {middle:.2?}, max {last:.2?}");
        println!("  too late or badly     {}", self.bad);
        println!("  before they listened  {}", self.unheard);
    }

    fn faults(&self, costs: &Costs, all_over: bool, points: usize) -> Vec<String> {
        let goals = [
            (costs.lost == 0, "jobs were lost"),
            (costs.errors == 0, "jobs paid with errors"),
            (costs.crashes == 0, "jobs paid with crashes"),
            (all_over, "not all jobs came to an end"),
            (self.bad == 0, "workers did not end in time, or badly"),
            (
                self.unheard * 4 < points,
                "too few were there to hear the signal",
            ),
            (
                self.released > 0,
                "nothing was given back, so that was not seen",
            ),
        ];
        let missed = goals.iter().filter(|(good, _)| !good);
        missed.map(|(_, what)| (*what).to_owned()).collect()
    }
}
