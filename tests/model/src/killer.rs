//! A killer among innocents, in processes with several slots: every order of claims, starts, ends
//! and deaths, with the real transition functions making each step of a job.
//!
//! A process takes jobs ahead into its hand and starts them as slots are free. The killer takes its
//! process down when it likes; what that process had in hand is revoked.

use std::collections::{HashMap, HashSet, VecDeque};

use bgjob_core::{Job, JobSpec, Json, job::transition};
use transition::SweepPolicy;

use super::{
    config::Model,
    projection::{self, NOW},
    world::{Budgets, Doc, Place, Time},
};

/// The killer, and the innocents.
const JOBS: usize = 4;
const KILLER: usize = 0;
const PROCESSES: u8 = 2;
const SLOTS: usize = 2;

/// How processes treat jobs that have crashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Habit {
    /// As the protocol says: into free slots only, suspects one at a time.
    Careful,
    /// A mistake: suspects too wait in hand.
    Hoards,
    /// A mistake: there are as many suspects at a time as there are slots.
    Mixes,
}

/// Where a process has a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
enum Seat {
    #[default]
    None,
    Waits(u8),
    Runs(u8),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct World {
    docs: [Doc; JOBS],
    seats: [Seat; JOBS],
    deaths: u32,
}

/// What can go wrong.
#[derive(Debug, PartialEq, Eq)]
pub enum Wrong {
    InnocentDies,
    TooManyDeaths,
    Stuck,
}

/// Explores all of it; what goes wrong first, and how many worlds there are.
pub fn explore(max_crashes: u32, habit: Habit) -> Result<usize, Wrong> {
    let none = Budgets::default();
    let model = Model::new(1, 1, none).spec(|spec| spec.max_crashes = max_crashes);
    let plain = JobSpec::new("job", Json::null());
    let model = model.spec(|spec| spec.max_attempts = plain.max_attempts);
    Explorer { model, habit }.explore(max_crashes)
}

struct Explorer {
    model: Model,
    habit: Habit,
}

impl Explorer {
    fn explore(&self, max_crashes: u32) -> Result<usize, Wrong> {
        let mut known = HashSet::from([self.start()]);
        let mut open = VecDeque::from([self.start()]);
        let mut before: HashMap<World, Vec<World>> = HashMap::new();
        let mut over = Vec::new();
        while let Some(world) = open.pop_front() {
            for next in self.nexts(&world) {
                let dead = |doc: &Doc| doc.place == Place::Dead;
                if next.docs[KILLER + 1..].iter().any(dead) {
                    return Err(Wrong::InnocentDies);
                }
                if next.deaths > max_crashes {
                    return Err(Wrong::TooManyDeaths);
                }
                before.entry(next).or_default().push(world);
                if known.insert(next) {
                    open.push_back(next);
                }
            }
            if world.docs.iter().all(|doc| doc.place.is_terminal()) {
                over.push(world);
            }
        }
        let mut can_end: HashSet<World> = over.iter().copied().collect();
        while let Some(world) = over.pop() {
            for from in before.remove(&world).unwrap_or_default() {
                if can_end.insert(from) {
                    over.push(from);
                }
            }
        }
        if can_end.len() < known.len() {
            return Err(Wrong::Stuck);
        }
        Ok(known.len())
    }

    fn start(&self) -> World {
        let mut world = World::default();
        for doc in &mut world.docs {
            (doc.place, doc.due, doc.indexed) = (Place::Ready, Time::Passed, true);
        }
        world
    }

    fn nexts(&self, world: &World) -> Vec<World> {
        let mut nexts = Vec::new();
        let mut can = |next: Option<World>| nexts.extend(next.filter(|next| next != world));
        for j in 0..JOBS {
            can(self.due(world, j));
            can(self.revoked(world, j));
            can(self.ended(world, j));
            for process in 0..PROCESSES {
                can(self.claimed(world, j, process));
                can(self.started(world, j, process));
            }
        }
        can(self.died(world));
        nexts
    }

    fn job(&self, world: &World, j: usize) -> Job {
        let doc = world.docs[j];
        let token = projection::token(doc.nonce);
        let job = doc.job(0, &self.model.specs, token);
        job.expect("jobs are kept")
    }

    fn put(world: &World, j: usize, job: &Job, seat: Seat) -> World {
        let mut next = *world;
        let nonce = match seat {
            Seat::None => 0,
            Seat::Waits(process) | Seat::Runs(process) => process + 1,
        };
        (next.docs[j], next.seats[j]) = (Doc::of(job, nonce, false), seat);
        next
    }

    fn due(&self, world: &World, j: usize) -> Option<World> {
        let mut next = *world;
        let doc = &mut next.docs[j];
        let waits = doc.place == Place::Ready && doc.due == Time::Ahead;
        waits.then(|| doc.due = Time::Passed)?;
        Some(next)
    }

    /// A process claims one more, as it may.
    fn claimed(&self, world: &World, j: usize, process: u8) -> Option<World> {
        if world.docs[j].place != Place::Ready {
            return None;
        }
        let mut job = self.job(world, j);
        let free = busy(world, process) < SLOTS;
        let suspects = (0..JOBS).filter(|&k| {
            world.seats[k].process() == Some(process) && self.job(world, k).is_suspect()
        });
        let suspect = match self.habit {
            Habit::Careful => free && suspects.count() == 0,
            Habit::Hoards => true,
            Habit::Mixes => free,
        };
        let mut grant = self.model.grant(projection::token(process + 1));
        grant.lease = Model::LEASE;
        transition::claim(&mut job, &grant, &self.model.serves(suspect), NOW).ok()?;
        // It is given back at once, and nothing has changed.
        if job.crashes > 0 && !free && self.habit != Habit::Hoards {
            return None;
        }
        let seat = if job.crashes > 0 && free {
            Seat::Runs(process)
        } else {
            Seat::Waits(process)
        };
        Some(Self::put(world, j, &job, seat))
    }

    fn started(&self, world: &World, j: usize, process: u8) -> Option<World> {
        let starts = world.seats[j] == Seat::Waits(process) && busy(world, process) < SLOTS;
        let mut next = *world;
        next.seats[j] = Seat::Runs(process);
        starts.then_some(next)
    }

    /// An innocent succeeds.
    fn ended(&self, world: &World, j: usize) -> Option<World> {
        let Seat::Runs(_) = world.seats[j] else {
            return None;
        };
        let mut job = self.job(world, j);
        let token = projection::token(world.docs[j].nonce);
        transition::finish(&mut job, token, &self.model.ends[0], NOW)?;
        (j != KILLER).then(|| Self::put(world, j, &job, Seat::None))
    }

    /// The killer takes its process down; another takes its place at once.
    fn died(&self, world: &World) -> Option<World> {
        let Seat::Runs(process) = world.seats[KILLER] else {
            return None;
        };
        let mut next = *world;
        next.deaths += 1;
        for j in 0..JOBS {
            if next.seats[j].process() == Some(process) {
                next.seats[j] = Seat::None;
                next.docs[j].until = Time::Passed;
            }
        }
        Some(next)
    }

    fn revoked(&self, world: &World, j: usize) -> Option<World> {
        if world.docs[j].place != Place::Running || world.docs[j].until != Time::Passed {
            return None;
        }
        let mut job = self.job(world, j);
        let revoked = transition::revoke(&mut job, &SweepPolicy::default(), NOW);
        revoked.then(|| Self::put(world, j, &job, Seat::None))
    }
}

impl Seat {
    fn process(self) -> Option<u8> {
        match self {
            Self::None => None,
            Self::Waits(process) | Self::Runs(process) => Some(process),
        }
    }
}

fn busy(world: &World, process: u8) -> usize {
    let runs = |seat: &&Seat| **seat == Seat::Runs(process);
    world.seats.iter().filter(runs).count()
}
