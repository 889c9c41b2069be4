//! The same hours over a document store, to which each process has an adapter of its own.

use std::time::{Duration, Instant};

use bgjob::testing::{Call, simulation::Simulation};

use crate::protocol::{Ask, hour, late, missed, part, simulation};

/// Half of what a sweep waits beyond a lease where clocks may differ.
const OFF: Duration = Duration::from_millis(500);
const OFTEN: Duration = Duration::from_secs(300);

/// Without a queue and beside one.
fn check(what: &str, with: impl Fn(Simulation) -> Simulation, off: Duration, kept: bool) {
    let begun = Instant::now();
    let run = |queue| {
        let late = late(queue) + off;
        let ask = Ask { late, kept };
        let simulation = with(part(simulation(queue), 20));
        simulation.check(move |sim| hour(sim, ask))
    };
    let mut report = run(false);
    report.join(run(true));
    let missed = missed(&report.hits, &[Call::DOCUMENTS]);
    println!(
        "{what}: {report}never met: {missed:?}\ntook {:.1?}",
        begun.elapsed()
    );
    assert!(missed.is_empty() || report.runs < 1_000, "{missed:?}");
}

#[test]
fn documents_keep_every_promise() {
    check("documents", Simulation::documents, Duration::ZERO, true);
}

#[test]
fn clocks_may_be_off() {
    let with = |runs: Simulation| runs.clocks_off(OFF);
    check("clocks that are off", with, OFF, true);
}

/// What the store forgets is gone. All else goes on, and nothing is held twice.
#[test]
fn a_store_may_go_back_to_what_it_was() {
    let with = |runs: Simulation| runs.roll_back(OFTEN);
    check("a store that forgets", with, Duration::ZERO, false);
}

/// Else the three above would say nothing.
#[test]
fn what_is_more_than_they_bear_is_seen() {
    let ask = Ask {
        late: Duration::MAX,
        kept: true,
    };
    let failure = |simulation: Simulation| {
        let failed = simulation.runs(20).run(move |sim| hour(sim, ask));
        failed.expect_err("it can't be borne").to_string()
    };
    let far_off = failure(simulation(false).clocks_off(40 * OFF));
    assert!(
        far_off.contains("S4: ") || far_off.contains("L2: "),
        "{far_off}"
    );
    let lost = failure(simulation(false).roll_back(OFTEN));
    assert!(lost.contains("S1"), "{lost}");
}

#[test]
fn these_runs_are_the_same_each_time_too() {
    let ask = Ask {
        late: Duration::MAX,
        kept: false,
    };
    let hashes = || {
        let simulation = simulation(true).runs(10).clocks_off(OFF).roll_back(OFTEN);
        simulation.check(move |sim| hour(sim, ask)).hashes
    };
    assert_eq!(hashes(), hashes());
}
