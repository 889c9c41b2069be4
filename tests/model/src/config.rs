//! What is explored: how many of what, and how much may go wrong.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bgjob_core::{
    JobSpec, Json,
    job::{DeadReason, Due, End, Failure, FailureKind, Grant, Retry, Serves, Token, transition},
};
use transition::SweepPolicy;

use super::{
    mutant::Mutant,
    projection,
    world::{Budgets, Client, Life, Outcome, World},
};

/// One configuration.
pub struct Model {
    pub jobs: usize,
    pub workers: usize,
    /// Hints of one job that a queue holds at most; none where there is no queue.
    pub hints: u8,
    pub budgets: Budgets,
    pub due: Due,
    /// Both jobs have the same unique key.
    pub unique: bool,
    /// Workers hold several jobs at once, and claim them with one token.
    pub batches: bool,
    pub liveness: bool,
    pub mutant: Mutant,
    pub policy: SweepPolicy,
    /// As it was enqueued, and as an operator edits it.
    pub specs: [Arc<JobSpec>; 2],
    pub served: Arc<BTreeMap<Arc<str>, u32>>,
    pub ends: [End; 5],
}

impl Model {
    pub const LEASE: Duration = Duration::from_secs(30);
    pub const LATER: Duration = Duration::from_secs(60);

    pub fn new(jobs: usize, workers: usize, budgets: Budgets) -> Self {
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
            policy: SweepPolicy::default().touch(Some(SweepPolicy::TOUCH)),
            specs: [Json::null(), projection::edited()].map(|metadata| {
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
    pub fn spec(mut self, change: impl Fn(&mut JobSpec)) -> Self {
        for spec in &mut self.specs {
            change(Arc::make_mut(spec));
        }
        self
    }

    pub fn without_queue(mut self) -> Self {
        self.hints = 0;
        self.policy.touch = None;
        self
    }

    /// With one more of each fault that there is.
    pub fn extended(mut self, really: bool) -> Self {
        let Budgets {
            crashes,
            doubts,
            frees,
            operations,
            ..
        } = &mut self.budgets;
        for budget in [crashes, doubts, frees, operations] {
            *budget += u8::from(really && *budget > 0);
        }
        self
    }

    pub fn mutated(mut self, mutant: Mutant) -> Self {
        self.mutant = mutant;
        self
    }

    pub fn start(&self) -> World {
        let mut world = World {
            left: self.budgets,
            ..World::default()
        };
        for worker in &mut world.workers[..self.workers] {
            worker.life = Life::Up;
        }
        for slot in &mut world.jobs[self.jobs..] {
            slot.client = Client::Done;
        }
        world.canonical()
    }

    pub fn keeps_fence(&self) -> bool {
        self.mutant == Mutant::CounterToken
    }

    pub fn later(&self) -> Due {
        Due::After(Self::LATER)
    }

    pub fn serves(&self, suspect: bool) -> Serves {
        let jobs = Arc::clone(&self.served);
        Serves::new(jobs).suspect(suspect)
    }

    pub fn grant(&self, token: Token) -> Grant {
        Grant::new(token, projection::owner(), Self::LEASE)
    }

    pub fn end(&self, outcome: Outcome) -> End {
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
