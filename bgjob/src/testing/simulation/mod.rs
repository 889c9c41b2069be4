//! [`simulate!`](crate::simulate): runs your jobs in a simulator, in which everything that can go
//! wrong does.
//!
//! A run has real managers and dispatchers, in simulated processes, on one thread, under simulated
//! time. Processes die and come back, answers get lost, workers freeze and return. All randomness
//! comes from the run's seed, so you can repeat a failed run until you know why it fails. The runs
//! are:
//!
//! 1. the first one is calm: nothing goes wrong;
//! 2. then one run for each place at which a process can die: each await of a handler, each
//!    [`step`], and each call to the store, both before and after it is done. At most half of the
//!    runs are of this kind; if there are more places, the runs are spread evenly over them;
//! 3. the rest are random: several deaths, lost answers, slow calls, frozen workers.
//!
//! The [`Report`] says how many places there were and how many of them were tried. If some were
//! not, `simulate!` prints that to the standard output (`cargo test -- --nocapture` shows it),
//! together with the number of `runs` that tries all of them: twice the number of places.
//!
//! The scenario starts the work and says what must hold at the end:
//!
//! ```
//! use std::sync::{Arc, Mutex};
//! use bgjob::{prelude::*, testing::simulation::step};
//!
//! /// The world outside: it stays when a process dies.
//! #[derive(Clone, Default)]
//! struct Bank(Arc<Mutex<Vec<String>>>);
//!
//! impl Bank {
//!     async fn pay(&self, key: &str) {
//!         step("the bank hears of it").await;
//!         let mut paid = self.0.lock().unwrap();
//!         if !paid.iter().any(|known| known == key) {
//!             paid.push(key.to_owned()); // each key is paid once: without that the test fails
//!         }
//!     }
//! }
//!
//! #[job]
//! async fn pay(order: String, bank: State<Bank>) {
//!     bank.pay(&order).await;
//! }
//!
//! # fn main() { // as a test: #[test] fn each_order_is_paid_once() {
//! bgjob::simulate!(runs = 50, |sim| async move {
//!     let bank = Bank::default();
//!     let registry = bgjob::Registry::new().with::<pay>();
//!     let served = bank.clone();
//!     sim.workers(2, move |worker| worker.registry(registry.clone()).state(served.clone()));
//!
//!     pay::enqueue(sim.jobs(), "order-7".to_owned()).await.unwrap();
//!     sim.all_over().await;
//!     assert_eq!(*bank.0.lock().unwrap(), ["order-7"]);
//! });
//! # }
//! ```
//!
//! What it can't see: tasks that a handler starts with `tokio::spawn` live on when their process
//! dies, and `#[job(blocking)]` functions run on real threads. A run can't be repeated exactly if a
//! handler uses `tokio::select!` without `biased;`, or asks the system for the time or for
//! randomness.
//!
//! Each run also checks the protocol's own promises, whatever the scenario checks.

mod below;
mod plan;
mod points;
mod process;
mod rules;
mod run;
mod schedule;
mod sim;
mod truth;
mod witness;

pub use points::step;
pub use run::{Failure, Report, Simulation};
pub use sim::Sim;

/// Runs a scenario many times, each time with something else going wrong. See
/// [`simulation`](crate::testing::simulation).
///
/// Takes `runs = 500, |sim| async move { … }`. By default there are 200 runs. With the environment
/// variable `BGJOB_RUN=17` it makes only that run, and prints its schedule.
///
/// # Panics
/// If a run fails. The message has the shortest schedule among the first few failures, and the
/// command that repeats it.
///
/// Returns a [`Report`](crate::testing::simulation::Report).
#[macro_export]
macro_rules! simulate {
    (runs = $runs:expr, $scenario:expr $(,)?) => {
        $crate::testing::simulation::Simulation::new()
            .runs($runs)
            .check($scenario)
    };
    ($scenario:expr $(,)?) => {
        $crate::testing::simulation::Simulation::new().check($scenario)
    };
}
