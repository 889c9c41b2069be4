//! The command line.

use clap::{Parser, ValueEnum};

use crate::store::Store;

/// Proves with real processes that nothing is lost, whatever dies. Without arguments: the short
/// form of kill on all stores, of poison and of shutdown.
#[derive(Debug, Clone, Parser)]
#[command(bin_name = "cargo test --test kill --")]
pub(crate) struct Options {
    /// What to do; anything else runs nothing, as a filter of `cargo test` would
    #[arg(value_name = "kill|poison|oom|shutdown|soak")]
    scenario: Option<String>,
    /// On which store; otherwise kill takes all, the others SQLite
    #[arg(long, value_enum)]
    store: Option<Store>,
    /// The long form: kill with 20,000 jobs and 100 kills (50 where the server is killed too), then
    /// behind a backlog in calm and under kills; poison with three crashes; shutdown at 200 points
    #[arg(long)]
    pub(crate) long: bool,
    /// kill: how many jobs
    #[arg(long)]
    pub(crate) jobs: Option<u64>,
    /// kill: how many kills; shutdown: how many signals
    #[arg(long)]
    pub(crate) kills: Option<usize>,
    /// kill: how often the server crashes; otherwise once, in the long form ten times, if there is
    /// one
    #[arg(long)]
    pub(crate) server_kills: Option<usize>,
    /// kill, shutdown: how many jobs every tenth of a second; otherwise what suits the store
    #[arg(long)]
    pub(crate) pace: Option<u64>,
    /// soak: how long
    #[arg(long, default_value_t = 30)]
    pub(crate) minutes: u64,
    /// Everything is printed anyway
    #[arg(long, hide = true)]
    nocapture: bool,
}

/// What there is to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    Kill,
    Poison,
    Oom,
    Shutdown,
    Soak,
}

impl Scenario {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Poison => "poison",
            Self::Oom => "oom",
            Self::Shutdown => "shutdown",
            Self::Soak => "soak",
        }
    }

    fn stores(self) -> &'static [Store] {
        match self {
            Self::Kill => &Store::ALL,
            _ => &[Store::Sqlite],
        }
    }
}

impl Options {
    /// Each scenario that is asked for, on each store.
    pub(crate) fn runs(&self) -> Vec<(Scenario, Store)> {
        let usual = [Scenario::Kill, Scenario::Poison, Scenario::Shutdown];
        let asked = match &self.scenario {
            None => usual.to_vec(),
            Some(name) => Scenario::from_str(name, false).into_iter().collect(),
        };
        let stores = |scenario: Scenario| match &self.store {
            Some(store) => std::slice::from_ref(store),
            None => scenario.stores(),
        };
        let pairs = asked
            .into_iter()
            .flat_map(|scenario| stores(scenario).iter().map(move |store| (scenario, *store)));
        pairs.collect()
    }
}
