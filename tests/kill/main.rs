//! Kills workers at random and looks whether anything was lost: real processes on one SQLite file,
//! with a ledger outside the store.
//!
//! ```text
//! cargo test --test kill                                   # the short form
//! cargo test --test kill -- --jobs 5000 --kills 100        # as long as you like
//! ```

mod judge;
mod ledger;
mod nemesis;
mod worker;

use std::{path::Path, process::ExitCode, time::Duration};

use bgjob::prelude::*;

use ledger::Ledger;
use worker::WORKERS;

/// What a run is made of.
#[derive(Debug, Clone, Copy)]
struct Plan {
    jobs: u64,
    kills: usize,
    /// For everything to end after the last kill.
    patience: Duration,
}

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime starts");
    if let [role, folder] = args.as_slice()
        && role == "--worker"
    {
        runtime
            .block_on(worker::run(Path::new(folder)))
            .expect("a worker runs until it is killed");
        return ExitCode::SUCCESS;
    }
    let number = |name: &str| {
        let at = args.iter().position(|arg| arg == name)?;
        args.get(at + 1)?.parse::<u64>().ok()
    };
    let plan = Plan {
        jobs: number("--jobs").unwrap_or(2500),
        kills: number("--kills").unwrap_or(20) as usize,
        patience: Duration::from_secs(120),
    };
    let folder = std::env::temp_dir().join(format!("bgjob-kill-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder is made");
    let passed = runtime
        .block_on(run(&folder, plan))
        .expect("the store answers");
    let _ = std::fs::remove_dir_all(&folder);
    // The form that `cargo test` prints, for whoever adds the lines up.
    let (verdict, passes) = if passed { ("ok", 1) } else { ("FAILED", 0) };
    println!(
        "\ntest result: {verdict}. {passes} passed; {} failed; 0 ignored",
        1 - passes
    );
    if passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

async fn run(folder: &Path, plan: Plan) -> bgjob::Result<bool> {
    println!(
        "{} jobs, {} kills, {WORKERS} workers on one SQLite file",
        plan.jobs, plan.kills
    );
    let jobs = JobManager::connect(worker::url(folder)).await?;
    let producer = tokio::spawn(nemesis::produce(jobs.clone(), folder.to_owned(), plan.jobs));
    let ledger = Ledger::open(folder);
    let took = nemesis::strike(folder, &jobs, &ledger, plan).await?;
    producer.await.expect("the producer does not panic")?;
    let report = judge::report(&ledger::read(folder), &jobs, took).await?;
    println!("{report}");
    Ok(report.is_good(plan))
}
