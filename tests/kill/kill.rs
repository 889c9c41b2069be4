//! The scenario `kill`: workers are killed and frozen at random under a steady load, and the
//! server too where the store has one.

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
    judge,
    ledger::{Ledger, Tail},
    load, nemesis,
    watch::Watch,
    worker::LEASE,
};

const WORKERS: usize = 5;

/// What a run is made of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// Jobs before the first strike, to compare with.
    pub(crate) calm: u64,
    /// Jobs after that.
    pub(crate) jobs: u64,
    /// Jobs at most, while a slow machine still looks for somebody to strike: those whose jobs have
    /// all crashed already are spared.
    most: u64,
    pub(crate) kills: usize,
    pub(crate) stops: usize,
    /// Of the server, where there is one.
    pub(crate) server_kills: usize,
    /// Who is in the middle of a job that has crashed more often than this is not struck.
    pub(crate) spare: u64,
    pub(crate) long: bool,
    /// For the next job to end, once all are enqueued.
    patience: Duration,
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
        Self {
            calm: (jobs / 10).max(jobs.min(30 * ground.pace())),
            jobs,
            most: 5 * jobs,
            kills,
            stops: kills.div_ceil(8),
            server_kills: if served { server_kills } else { 0 },
            spare: u64::from(long),
            long,
            // In the long form a job may crash a third time, and then waits ten minutes.
            patience: Duration::from_secs(if long { 660 } else { 60 }),
        }
    }
}

pub(crate) async fn run(ground: &Ground) -> bgjob::Result<Vec<String>> {
    let plan = Plan::new(ground);
    println!(
        "  {} jobs in calm, {} under {} kills, {} stops and {} kills of the server; \
         {WORKERS} workers, lease {LEASE:?}",
        plan.calm, plan.jobs, plan.kills, plan.stops, plan.server_kills
    );
    let jobs = ground.store.open(&ground.folder).await?;
    let ledger = Arc::new(Ledger::open(&ground.folder));
    let mut crew = Crew::start(ground, WORKERS, Terms::default());
    let mut watch = Watch::new(ground, &jobs, &ledger);
    let pace = ground.pace();
    let calm = move |n| n < plan.calm;
    let load = tokio::spawn(load::produce(
        jobs.clone(),
        Arc::clone(&ledger),
        0,
        calm,
        pace,
    ));
    watch.until_over(&load, plan.patience).await;
    ledger.note("storm", "-", 0);
    let striking = Arc::new(AtomicBool::new(true));
    let still = Arc::clone(&striking);
    let storm = move |n| n < plan.calm + plan.jobs || (still.load(Relaxed) && n < plan.most);
    let load = tokio::spawn(load::produce(
        jobs.clone(),
        Arc::clone(&ledger),
        plan.calm,
        storm,
        pace,
    ));
    tokio::join!(
        async {
            nemesis::strike(ground, &mut crew, &ledger, plan).await;
            striking.store(false, Relaxed);
        },
        nemesis::strike_server(ground, &ledger, plan),
        watch.until_over(&load, plan.patience)
    );
    // What a frozen worker did last may have come after the end of the last job.
    watch.until_over(&load, plan.patience).await;
    drop(crew);
    let report = judge::report(&Tail::new(&ground.folder).more(), &jobs).await?;
    println!("{report}");
    Ok(report.faults(plan))
}
