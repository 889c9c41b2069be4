//! The protocol, explored: every path of a few jobs and workers through every fault, with the
//! real transition functions of `bgjob::job::transition` making each step.
//!
//! `cargo test --test model -- --nocapture` prints what was seen; with `BGJOB_MODEL=long` in the
//! environment the budgets for faults are larger.

mod action;
mod explore;
mod judge;
mod mutant;
mod step;
mod world;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bgjob::{
    JobSpec, Json,
    job::{DeadReason, Due, End, Failure, FailureKind, Grant, Retry, Serves, Token, transition},
};

use explore::{Report, Until};
use judge::{Event, Notes, Rule};
use mutant::Mutant;
use transition::SweepPolicy;
use world::{Budgets, Life, Outcome, World};

/// One configuration.
pub struct Model {
    jobs: usize,
    workers: usize,
    /// Hints of one job that a queue holds at most; none where there is no queue.
    hints: u8,
    budgets: Budgets,
    due: Due,
    /// Both jobs have the same unique key.
    unique: bool,
    /// Workers hold several jobs at once, and claim them with one token.
    batches: bool,
    liveness: bool,
    mutant: Mutant,
    policy: SweepPolicy,
    /// As it was enqueued, and as an operator edits it.
    specs: [Arc<JobSpec>; 2],
    served: Arc<BTreeMap<Arc<str>, u32>>,
    ends: [End; 5],
}

impl Model {
    const LEASE: Duration = Duration::from_secs(30);
    const LATER: Duration = Duration::from_secs(60);

    fn new(jobs: usize, workers: usize, budgets: Budgets) -> Self {
        let name: Arc<str> = "job".into();
        let mut model = Self {
            jobs,
            workers,
            hints: 2,
            budgets,
            due: Due::Now,
            unique: false,
            batches: false,
            liveness: true,
            mutant: Mutant::None,
            policy: SweepPolicy {
                touch: Some(SweepPolicy::TOUCH),
                ..SweepPolicy::default()
            },
            specs: [Json::null(), world::edited()].map(|metadata| {
                let mut spec = JobSpec::new(Arc::clone(&name), metadata);
                (spec.max_attempts, spec.max_crashes) = (2, 2);
                Arc::new(spec)
            }),
            served: Arc::new(BTreeMap::from([(name, 0)])),
            ends: ends(),
        };
        if jobs > 1 {
            model.hints = 1;
        }
        model
    }

    /// Changes what was asked for.
    fn spec(mut self, change: impl Fn(&mut JobSpec)) -> Self {
        for spec in &mut self.specs {
            change(Arc::make_mut(spec));
        }
        self
    }

    fn without_queue(mut self) -> Self {
        self.hints = 0;
        self.policy.touch = None;
        self
    }

    fn mutated(mut self, mutant: Mutant) -> Self {
        self.mutant = mutant;
        self
    }

    fn start(&self) -> World {
        let mut world = World {
            left: self.budgets,
            ..World::default()
        };
        for worker in &mut world.workers[..self.workers] {
            worker.life = Life::Up;
        }
        for slot in &mut world.jobs[self.jobs..] {
            slot.client = world::Client::Done;
        }
        world.canonical()
    }

    fn keeps_fence(&self) -> bool {
        self.mutant == Mutant::CounterToken
    }

    fn later(&self) -> Due {
        Due::After(Self::LATER)
    }

    fn serves(&self, suspect: bool) -> Serves {
        let jobs = Arc::clone(&self.served);
        Serves { jobs, suspect }
    }

    fn grant(&self, token: Token) -> Grant {
        Grant {
            token,
            owner: world::owner(),
            lease: Self::LEASE,
            repeat: false,
        }
    }

    fn end(&self, outcome: Outcome) -> End {
        self.ends[outcome as usize].clone()
    }
}

/// The ends of an attempt, in the order of [`Outcome`].
fn ends() -> [End; 5] {
    let error = |retry| End::Error {
        failure: Failure {
            kind: FailureKind::Error,
            messages: Vec::new(),
        },
        retry,
    };
    [
        End::Success(Json::null()),
        error(Retry::After(Duration::from_secs(1))),
        error(Retry::Never(DeadReason::Aborted)),
        End::Release,
        End::Snooze(Model::LATER),
    ]
}

const FAULTS: Budgets = Budgets {
    crashes: 2,
    doubts: 2,
    doubled: 1,
    frees: 1,
    operations: 1,
    late: 0,
    rollbacks: 0,
};

fn holds(name: &str, model: &Model, events: &[Event]) -> Report {
    let report = model.explore(Until::Exhausted);
    let missing: Vec<_> = events.iter().filter(|e| !report.notes.has(**e)).collect();
    println!(
        "{name}: {} states, {} steps, depth {}, {:.1?}, broken {:?}, stuck {:?}, missing {missing:?}",
        report.states, report.steps, report.depth, report.took, report.broken, report.stuck,
    );
    report
}

#[test]
fn one_job_two_workers() {
    holds("one job, two workers", &Model::new(1, 2, FAULTS), &[Event::Zombie]);
}
#[test]
fn one_job_two_workers_nq() {
    holds("one job, two workers, no queue", &Model::new(1, 2, FAULTS).without_queue(), &[Event::Zombie]);
}
