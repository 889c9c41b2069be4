//! The scenario `kill`: workers are killed and frozen at random under a steady load, and the
//! server too where the store has one; in the long form then also behind a backlog.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use crate::{
    Ground,
    crew::{Crew, Terms},
    flood, judge,
    ledger::{Ledger, Tail},
    load,
    nemesis::{self, Strikes},
    watch::Watch,
    worker::LEASE,
};

const WORKERS: usize = 5;

/// What a run is made of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) jobs: u64,
    /// Jobs at most, while a slow machine still looks for somebody to strike: those whose jobs have
    /// all crashed already are spared.
    pub(crate) most: u64,
    pub(crate) strikes: Strikes,
    /// What is done behind a backlog, if that is seen too.
    pub(crate) flood: Option<Strikes>,
    pub(crate) long: bool,
    /// For the next job to end, once all are enqueued.
    pub(crate) patience: Duration,
}

impl Plan {
    fn new(ground: &Ground) -> Self {
        let long = ground.options.long;
        // About twelve seconds of load, or eight minutes.
        let jobs = if long { 20_000 } else { 120 * ground.pace() };
        let jobs = ground.options.jobs.unwrap_or(jobs);
        // Each crash of a server strikes all that is held, so half the kills do as much.
        let served = ground.store.is_served();
        let (kills, server_kills) = match (long, served) {
            (true, true) => (50, 10),
            (true, false) => (100, 0),
            (false, true) => (5, 1),
            (false, false) => (5, 0),
        };
        let kills = ground.options.kills.unwrap_or(kills);
        let server_kills = ground.options.server_kills.unwrap_or(server_kills);
        let strikes = Strikes {
            kills,
            stops: kills.div_ceil(8),
            server_kills: if served { server_kills } else { 0 },
            spare: u64::from(long),
            // Somewhat before the load ends, so that there is always someone at work.
            span: load::span(jobs, ground.pace()).mul_f64(0.9),
        };
        Self {
            jobs,
            most: 5 * jobs,
            strikes,
            flood: long.then(|| strikes.within(flood::SPAN)),
            long,
            // In the long form a job may crash a third time, and then waits ten minutes.
            patience: Duration::from_secs(if long { 660 } else { 60 }),
        }
    }

    /// How many of a kind of strikes there are to be in all.
    pub(crate) fn all(&self, kind: impl Fn(Strikes) -> usize) -> usize {
        kind(self.strikes) + self.flood.map_or(0, kind)
    }
}

pub(crate) async fn run(ground: &Ground) -> bgjob::Result<Vec<String>> {
    let plan = Plan::new(ground);
    announce(plan.strikes, &format!("{} jobs", plan.jobs));
    if let Some(flood) = plan.flood {
        let span = flood::SPAN;
        announce(
            flood,
            &format!("then a backlog for {span:?} in calm and {span:?}"),
        );
    }
    println!("  {WORKERS} workers, lease {LEASE:?}");
    let jobs = ground.store.open(&ground.folder).await?;
    let ledger = Arc::new(Ledger::open(&ground.folder));
    let mut crew = Crew::start(ground, WORKERS, Terms::default());
    let mut watch = Watch::new(ground, &jobs, &ledger);
    let striking = Arc::new(AtomicBool::new(true));
    let still = Arc::clone(&striking);
    let storm = move |n| n < plan.jobs || (still.load(Relaxed) && n < plan.most);
    let load = tokio::spawn(load::produce(
        jobs.clone(),
        Arc::clone(&ledger),
        0,
        storm,
        ground.pace(),
    ));
    tokio::join!(
        async {
            nemesis::strike(ground, &mut crew, &ledger, plan.strikes).await;
            striking.store(false, Relaxed);
        },
        nemesis::strike_server(ground, &ledger, plan.strikes),
        watch.until_over(&load, plan.patience)
    );
    // What a frozen worker did last may have come after the end of the last job.
    watch.until_over(&load, plan.patience).await;
    flood::run(ground, &jobs, &ledger, &mut crew, &mut watch, plan).await;
    drop(crew);
    let report = judge::report(&Tail::new(&ground.folder).more(), &jobs).await?;
    print!("{report}");
    Ok(report.faults(plan))
}

fn announce(strikes: Strikes, what: &str) {
    let Strikes {
        kills,
        stops,
        server_kills,
        ..
    } = strikes;
    println!("  {what} under {kills} kills, {stops} stops and {server_kills} kills of the server");
}
