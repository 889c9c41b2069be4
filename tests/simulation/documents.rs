//! The same hours over a document store, to which each process has an adapter of its own.

use std::time::{Duration, Instant};

use bgjob::testing::{Call, simulation::Simulation};

use crate::protocol::{Ask, hour, missed, part, simulation};

/// Others' writes are seen at the next poll, after a second.
const LATE: Duration = Duration::from_millis(1_100);
/// Half of what a sweep waits beyond a lease where clocks may differ.
const OFF: Duration = Duration::from_millis(500);
const OFTEN: Duration = Duration::from_secs(300);

/// Without a queue and beside one.
fn check(what: &str, with: impl Fn(Simulation) -> Simulation, ask: Ask) {
    let begun = Instant::now();
    let run = |queue| {
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
    let ask = Ask {
        late: LATE,
        kept: true,
    };
    check("documents", Simulation::documents, ask);
}

#[test]
fn clocks_may_be_off() {
    let ask = Ask {
        late: LATE + OFF,
        kept: true,
    };
    check("clocks that are off", |runs| runs.clocks_off(OFF), ask);
}

/// What the store forgets is gone. All else goes on, and nothing is held twice.
#[test]
fn a_store_may_go_back_to_what_it_was() {
    let ask = Ask {
        late: LATE,
        kept: false,
    };
    check("a store that forgets", |runs| runs.roll_back(OFTEN), ask);
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
        late: LATE + OFF,
        kept: false,
    };
    let hashes = || {
        let simulation = simulation(true).runs(10).clocks_off(OFF).roll_back(OFTEN);
        simulation.check(move |sim| hour(sim, ask)).hashes
    };
    assert_eq!(hashes(), hashes());
}
