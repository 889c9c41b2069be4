//! What a run can do behind a backlog, and how much of that is left under strikes: the load of the
//! other part is paced below that, so that its recoveries are not a wait in line.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use bgjob::prelude::*;
use tokio::time::sleep;

use crate::{
    Ground,
    crew::Crew,
    kill::Plan,
    ledger::Ledger,
    load,
    nemesis::{self, Strikes},
    watch::Watch,
};

/// For so long in calm, then under strikes.
pub(crate) const SPAN: Duration = Duration::from_secs(40);
/// Until all slots are at work.
const WARM_UP: Duration = Duration::from_secs(3);
/// How many jobs wait: some seconds' work, as they are made up whenever a call is answered.
const DEPTH: u64 = 1_000;

/// Keeps a backlog while it measures, then waits until all is over; if the plan says so.
pub(crate) async fn run(
    ground: &Ground,
    jobs: &JobManager,
    ledger: &Arc<Ledger>,
    crew: &mut Crew,
    watch: &mut Watch,
    plan: Plan,
) {
    let Some(strikes) = plan.flood else { return };
    let measuring = Arc::new(AtomicBool::new(true));
    let still = Arc::clone(&measuring);
    let load = tokio::spawn(load::pile(
        jobs.clone(),
        Arc::clone(ledger),
        ground.folder.clone(),
        // No number that the paced load has had.
        plan.most,
        move || still.load(Relaxed),
        DEPTH,
    ));
    tokio::join!(
        async {
            measure(ground, ledger, crew, strikes).await;
            measuring.store(false, Relaxed);
        },
        watch.until_over(&load, plan.patience)
    );
}

/// Notes when each part begins and ends.
async fn measure(ground: &Ground, ledger: &Arc<Ledger>, crew: &mut Crew, strikes: Strikes) {
    sleep(WARM_UP).await;
    ledger.note("flood", "calm", 0);
    sleep(SPAN).await;
    ledger.note("flood", "storm", 0);
    tokio::join!(
        sleep(SPAN),
        nemesis::strike(ground, crew, ledger, strikes),
        nemesis::strike_server(ground, ledger, strikes)
    );
    ledger.note("flood", "over", 0);
}
