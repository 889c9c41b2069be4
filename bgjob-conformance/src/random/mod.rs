//! Random programs and races, for mistakes that nobody thought of when writing the cases.

use std::{env, ops::Range};

use tokio::runtime::{Builder, Runtime};

use super::{StoreFixture, run::say};

mod history;
mod linearize;
mod model;
mod names;
mod op;
mod races;
mod sequence;
mod show;
mod step;
mod world;

/// Makes a module of two tests: random sequences of calls, and concurrent histories.
///
/// `$factory` is an `async fn()` (or closure) that makes a fresh [`StoreFixture`], whose time moves
/// only by its `advance`.
///
/// ```
/// use std::sync::Arc;
/// use bgjob::{providers::memory::MemoryStore, testing::ManualClock};
/// use bgjob_conformance::Clocked;
///
/// async fn fresh() -> Clocked {
///     let clock = ManualClock::new();
///     Clocked::new(MemoryStore::with_clock(Arc::new(clock.clone())), clock)
/// }
///
/// bgjob_conformance::store_sequences!(random_memory, fresh, sequences = 200, histories = 100);
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! store_sequences {
    (
        $name:ident, $factory:expr, sequences = $sequences:expr, histories = $histories:expr $(,)?
    ) => {
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            #[test]
            fn sequences() {
                $crate::run_sequences($factory, $sequences);
            }

            #[test]
            fn histories() {
                $crate::run_histories($factory, $histories);
            }
        }
    };
}

/// Plays this many random programs of about fifty calls, each on a new store.
///
/// `BGJOB_SEED=7` plays only program 7. `BGJOB_SEQUENCES=100000` plays that many programs.
///
/// # Panics
/// If a program breaks the contract. The message has the shortest form of the program that was
/// found to fail.
pub fn run_sequences<F: StoreFixture>(factory: impl AsyncFn() -> F, sequences: u64) {
    let seeds = seeds("BGJOB_SEQUENCES", sequences);
    match sequence::run(&runtime(), &factory, seeds) {
        Ok(done) => say(&format!("{done}")),
        Err(failure) => panic!("{}\n{}", failure.text, replay(failure.seed)),
    }
}

/// Lets four threads make calls for one job, this many times, each time on a new store.
///
/// `BGJOB_SEED=7` runs only history 7. `BGJOB_HISTORIES=100000` runs that many histories. Threads
/// are scheduled differently each time, so it may take several tries to see a failure again.
///
/// # Panics
/// If no order of the calls explains the answers, if a race does not have exactly one winner, or if
/// hardly any calls overlapped.
pub fn run_histories<F: StoreFixture>(factory: impl AsyncFn() -> F, histories: u64) {
    let seeds = seeds("BGJOB_HISTORIES", histories);
    match history::run(&runtime(), &factory, seeds) {
        Ok(done) => {
            say(&format!("{done}"));
            if let Err(why) = done.raced() {
                panic!("{why}");
            }
        }
        Err(failure) => panic!("{}\n{}", failure.text, replay(failure.seed)),
    }
}

/// A failure, and the seed that repeats it.
#[derive(Debug)]
struct Failure {
    seed: u64,
    text: String,
}

/// Several threads, because a store may use more than the caller's.
fn runtime() -> Runtime {
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime.expect("a runtime can be made")
}

/// The seeds are always the same, from 0 on, so that a failure does not depend on luck. The
/// variable sets how many there are.
fn seeds(variable: &str, many: u64) -> Range<u64> {
    match number("BGJOB_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number(variable).unwrap_or(many),
    }
}

fn number(variable: &str) -> Option<u64> {
    let value = env::var(variable).ok()?;
    let number = value.parse();
    Some(number.unwrap_or_else(|_| panic!("{variable} is a number, not {value:?}")))
}

/// The command that repeats the failure.
fn replay(seed: u64) -> String {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or_default();
    format!("to see it again: BGJOB_SEED={seed} cargo test {test}")
}
