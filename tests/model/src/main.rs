//! The protocol, explored: every path of a few jobs and workers through every fault, with the
//! real transition functions of `bgjob_core::job::transition` making each step.
//!
//! `cargo test --test model -- --nocapture` prints what was seen; with `BGJOB_MODEL=long` in the
//! environment the budgets for faults are larger.

mod action;
mod config;
mod enabled;
mod explore;
mod judge;
mod key;
mod killer;
mod maintain;
mod mutant;
mod projection;
mod step;
mod surround;
mod world;

use std::time::Duration;

use config::Model;
use explore::Until;
use judge::{Event, Rule};
use killer::{Habit, Wrong};
use mutant::Mutant;
use world::Budgets;

const FAULTS: Budgets = Budgets {
    crashes: 2,
    doubts: 2,
    doubled: 1,
    frees: 1,
    operations: 1,
    late: 0,
    rollbacks: 0,
};

/// Explores a configuration to its end: nothing broken, nothing stuck, every event seen.
#[track_caller]
fn holds(name: &str, model: &Model, events: &[Event]) {
    let report = model.explore(Until::Exhausted);
    println!("{name}: {report}");
    let missing: Vec<_> = events.iter().filter(|e| !report.notes.has(**e)).collect();
    assert!(
        report.broken.is_empty() && report.stuck == [0; 3],
        "{name}: {report}"
    );
    assert!(missing.is_empty(), "{name}: never saw {missing:?}");
}

/// Explores a mistake until the model catches it by this rule.
#[track_caller]
fn caught(mutant: Mutant, rule: Rule, model: Model) {
    let report = model.mutated(mutant).explore(Until::Broken);
    let found = report.broken.iter().any(|(broken, _)| *broken == rule);
    let stuck = rule == Rule::CanEnd && report.stuck != [0; 3];
    println!("{mutant:?}: caught by {rule:?}: {report}");
    assert!(found || stuck, "{mutant:?} got away: {report}");
}

/// More of everything, where there is time for it.
fn long(model: Model) -> Model {
    model.extended(std::env::var("BGJOB_MODEL").is_ok_and(|form| form == "long"))
}

#[test]
fn one_job_with_a_queue() {
    let model = long(Model::new(1, 2, FAULTS));
    let events = [
        Event::Zombie,
        Event::LateFinish,
        Event::ClaimRepeated,
        Event::SameClaimAnswered,
        Event::CreateRepeated,
        Event::CancelSeen,
        Event::Cancelled,
        Event::Requeued,
        Event::AllSucceeded,
        Event::DeadByErrors,
        Event::DeadByCrashes,
        Event::DeadByAbort,
        Event::Purged,
    ];
    holds("one job, two workers, a queue", &model, &events);
}

#[test]
fn one_job_without_a_queue() {
    let budgets = Budgets {
        operations: 2,
        ..FAULTS
    };
    let model = long(Model::new(1, 3, budgets).without_queue());
    holds("one job, three workers, no queue", &model, &[Event::Zombie]);
}

#[test]
fn one_job_three_workers() {
    let mut model = long(Model::new(1, 3, FAULTS));
    model.hints = 1;
    holds("one job, three workers, a queue", &model, &[Event::Zombie]);
}

#[test]
fn deleted_at_success() {
    let budgets = Budgets {
        crashes: 1,
        ..FAULTS
    };
    let model = long(
        Model::new(1, 2, budgets)
            .without_queue()
            .spec(|s| s.retain = Duration::ZERO),
    );
    let events = [
        Event::Vanished,
        Event::CreateRemembered,
        Event::AllSucceeded,
        Event::Cancelled,
    ];
    holds("one job, deleted at success", &model, &events);
}

#[test]
fn delayed_with_limits() {
    let budgets = Budgets {
        crashes: 1,
        doubts: 1,
        ..FAULTS
    };
    let mut model = long(Model::new(1, 2, budgets).spec(|s| {
        (s.expires, s.deadline) = (Some(Model::LATER), Some(10 * Model::LATER));
    }));
    model.due = model.later();
    let events = [Event::DeadByExpiry, Event::DeadByDeadline, Event::Requeued];
    holds(
        "one delayed job that expires and has a deadline",
        &model,
        &events,
    );
}

#[test]
fn two_jobs_in_one_grant() {
    let budgets = Budgets {
        crashes: 1,
        doubts: 1,
        doubled: 0,
        frees: 0,
        operations: 0,
        ..FAULTS
    };
    let mut model = long(Model::new(2, 2, budgets).without_queue());
    model.batches = true;
    holds(
        "two jobs, claimed together",
        &model,
        &[Event::Batch, Event::Zombie, Event::AllSucceeded],
    );
}

#[test]
fn one_unique_key() {
    let budgets = Budgets {
        crashes: 1,
        doubts: 1,
        doubled: 0,
        frees: 0,
        operations: 2,
        ..FAULTS
    };
    let mut model = long(Model::new(2, 1, budgets).without_queue());
    model.unique = true;
    holds(
        "two jobs with one unique key",
        &model,
        &[Event::KeyTaken, Event::Requeued],
    );
}

#[test]
fn messages_that_come_late() {
    let budgets = Budgets {
        late: 1,
        doubts: 1,
        doubled: 0,
        operations: 0,
        ..FAULTS
    };
    let model = long(Model::new(1, 2, budgets).without_queue());
    holds(
        "one job, a message comes late",
        &model,
        &[Event::LateClaim, Event::Zombie],
    );
}

#[test]
fn a_store_that_loses_its_last_commits() {
    let budgets = Budgets {
        rollbacks: 1,
        doubled: 0,
        operations: 0,
        frees: 0,
        crashes: 1,
        ..FAULTS
    };
    let model = long(Model::new(1, 2, budgets).without_queue());
    holds("one job, the store rolls back", &model, &[Event::Zombie]);
}

/// It is Dead after as many deaths of processes as it may cause, and nobody with it.
#[test]
fn a_killer_among_innocents() {
    for crashes in [2, 3, 4] {
        let worlds = killer::explore(crashes, Habit::Careful);
        println!("a killer of {crashes} processes: {worlds:?} worlds");
        assert!(worlds.is_ok_and(|worlds| worlds > 1_000), "{crashes}");
    }
}

#[test]
fn a_killer_that_meets_suspects_is_caught() {
    for habit in [Habit::Hoards, Habit::Mixes] {
        let found = killer::explore(3, habit);
        assert_eq!(found, Err(Wrong::InnocentDies), "{habit:?}");
    }
}

#[test]
fn every_mistake_is_caught() {
    let small = || Model::new(1, 2, FAULTS);
    let alone = || small().without_queue();
    caught(Mutant::BlindFinish, Rule::OnlyHolderEnds, small());
    caught(Mutant::FinishByState, Rule::OnlyHolderEnds, small());
    caught(Mutant::ClaimsTerminal, Rule::NoStartAfterEnd, small());
    caught(Mutant::NoSweeper, Rule::CanEnd, small());
    caught(Mutant::BlindRevoke, Rule::Absorbing, small());
    let rollback = Budgets {
        rollbacks: 1,
        operations: 0,
        frees: 0,
        ..FAULTS
    };
    caught(
        Mutant::CounterToken,
        Rule::OnlyHolderEnds,
        Model::new(1, 2, rollback).without_queue(),
    );
    let crashes = Budgets {
        crashes: 4,
        ..FAULTS
    };
    caught(
        Mutant::FreeCrashes,
        Rule::BoundedStarts,
        Model::new(1, 1, crashes).without_queue(),
    );
    caught(Mutant::ClaimLeavesIndex, Rule::Findable, small());
    let mut delayed = alone();
    delayed.due = delayed.later();
    caught(Mutant::ClaimsEarly, Rule::NeverEarly, delayed);
    caught(Mutant::CreateOverwrites, Rule::Absorbing, alone());
    let vanishing = alone().spec(|s| s.retain = Duration::ZERO);
    caught(Mutant::ForgetsIds, Rule::OneSuccess, vanishing);
    let mut unique = Model::new(2, 1, FAULTS).without_queue();
    unique.unique = true;
    caught(Mutant::RequeueIgnoresKey, Rule::UniqueKey, unique);
}
