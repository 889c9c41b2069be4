//! Real processes, real faults: workers are killed, frozen, poisoned, starved of memory and shut
//! down at random, and a ledger outside the store tells whether anything was lost.
//!
//! ```text
//! cargo test --test kill                                     # the short form, all of it
//! cargo test --test kill -- kill --store file --long         # 20,000 jobs, 100 kills
//! cargo test --test kill -- --help
//! ```

mod crew;
mod flood;
mod judge;
mod kill;
mod ledger;
mod load;
mod nemesis;
mod options;
mod poison;
mod redb;
mod report;
mod shutdown;
mod soak;
mod store;
mod watch;
mod worker;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use clap::Parser;

use bgjob_test_servers::postgres::Server;
use options::{Options, Scenario};
use store::Store;

/// What one run of a scenario has: a store, its server if it has one, a folder of its own, and the
/// size it is asked for.
struct Ground {
    store: Store,
    server: Option<Arc<Server>>,
    folder: PathBuf,
    options: Options,
}

impl Ground {
    /// Jobs every tenth of a second.
    fn pace(&self) -> u64 {
        self.options.pace.unwrap_or(self.store.pace())
    }
}

fn main() -> ExitCode {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime starts");
    let args: Vec<_> = std::env::args().skip(1).collect();
    if let [role, folder, store, lease, drain] = args.as_slice()
        && role == "--worker"
    {
        let store = Store::named(store).expect("the harness names a store");
        let [lease, drain] = [lease, drain]
            .map(|millis| Duration::from_millis(millis.parse().expect("they are milliseconds")));
        runtime
            .block_on(worker::run(store, Path::new(folder), lease, drain))
            .expect("a worker runs until it is ended");
        return ExitCode::SUCCESS;
    }
    let options = Options::parse();
    let (mut passed, mut failed) = (0, 0);
    let runs = options.runs();
    if !runs.is_empty() {
        assert!(judge::is_awake(), "the judge does not see a crime");
        assert!(judge::sees_freezes(), "the judge does not see a freeze");
        assert!(report::can_count(), "a percentile is not the nearest rank");
        // What was built just before is written to the disk now, not in the middle of a run.
        let _ = std::process::Command::new("sync").status();
    }
    for (scenario, store) in runs {
        println!("\n{} on {}", scenario.name(), store.name());
        if runtime.block_on(run(scenario, store, &options)) {
            passed += 1;
        } else {
            failed += 1;
        }
    }
    // The form that `cargo test` prints, for whoever adds the lines up.
    let verdict = if failed == 0 { "ok" } else { "FAILED" };
    println!("\ntest result: {verdict}. {passed} passed; {failed} failed; 0 ignored");
    ExitCode::from(u8::from(failed > 0))
}

/// Runs one scenario. The folder of one that failed stays, to be looked into.
async fn run(scenario: Scenario, store: Store, options: &Options) -> bool {
    let name = format!("bgjob-kill-{}-{}", std::process::id(), bgjob::JobId::new());
    let folder = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&folder).expect("a folder is made");
    let mut ground = Ground {
        store,
        server: store.serve(&folder).map(Arc::new),
        folder,
        options: options.clone(),
    };
    let faults = match scenario {
        Scenario::Kill => kill::run(&ground).await,
        Scenario::Poison => poison::run(&ground, poison::Evil::Abort).await,
        Scenario::Oom => poison::run(&ground, poison::Evil::Hoard).await,
        Scenario::Shutdown => shutdown::run(&ground).await,
        Scenario::Soak => soak::run(&ground).await,
    };
    drop(ground.server.take());
    let faults = faults.unwrap_or_else(|error| vec![format!("the harness ended early: {error}")]);
    if faults.is_empty() {
        println!("  verdict: good");
        let _ = std::fs::remove_dir_all(&ground.folder);
    } else {
        println!("  verdict: BAD: {}", faults.join("; "));
        println!("  what it left is in {}", ground.folder.display());
    }
    faults.is_empty()
}
