//! Visits every world that can be reached, breadth first, then looks which of them could get stuck.

use std::{
    collections::HashMap,
    fmt,
    hash::{BuildHasherDefault, Hasher},
    time::{Duration, Instant},
};

use super::{
    action::{Action, Fair},
    config::Model,
    judge::{Notes, Rule},
    key::Key,
    world::World,
};

/// What an exploration found.
#[derive(Debug)]
pub struct Report {
    pub states: usize,
    pub steps: u64,
    pub depth: u32,
    pub took: Duration,
    /// Each broken rule with a shortest path to it.
    pub broken: Vec<(Rule, Vec<Action>)>,
    pub notes: Notes,
    /// From how many worlds nothing fair leads to an end: with everything, without the queue,
    /// without the scan.
    pub stuck: [usize; 3],
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            states,
            steps,
            depth,
            took,
            stuck,
            ..
        } = self;
        write!(
            f,
            "{states} states, {steps} steps, depth {depth}, {took:.1?}, "
        )?;
        write!(
            f,
            "stuck {}/{}/{}, {} broken",
            stuck[0],
            stuck[1],
            stuck[2],
            self.broken.len()
        )?;
        for (rule, path) in &self.broken {
            write!(f, "\n  {rule:?} after {path:?}")?;
        }
        Ok(())
    }
}

/// How far to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// Everything was seen.
    Exhausted,
    /// The first broken rule.
    Broken,
}

struct Explorer<'a> {
    model: &'a Model,
    numbers: HashMap<Key, u32, BuildHasherDefault<Mix>>,
    worlds: Vec<World>,
    /// Which world each was first reached from, and how.
    parents: Vec<(u32, Option<Action>)>,
    /// Fair steps: from, to, by whom.
    edges: Vec<(u32, u32, Fair)>,
}

impl Model {
    /// Explores this configuration.
    pub fn explore(&self, until: Until) -> Report {
        let start = Instant::now();
        let mut explorer = Explorer {
            model: self,
            numbers: HashMap::default(),
            worlds: Vec::new(),
            parents: Vec::new(),
            edges: Vec::new(),
        };
        let mut report = Report {
            states: 0,
            steps: 0,
            depth: 0,
            took: Duration::ZERO,
            broken: Vec::new(),
            notes: Notes::default(),
            stuck: [0; 3],
        };
        explorer.visit(until, &mut report);
        if report.broken.is_empty() && self.liveness {
            report.stuck = [Fair::Never, Fair::Queue, Fair::Scan].map(|w| explorer.stuck(w));
            if self.hints == 0 {
                report.stuck[2] = 0;
            }
        }
        report.states = explorer.worlds.len();
        report.took = start.elapsed();
        report
    }
}

impl Explorer<'_> {
    fn visit(&mut self, until: Until, report: &mut Report) {
        self.number(self.model.start(), 0, None);
        let mut actions = Vec::new();
        let (mut next, mut layer_end) = (0, 1);
        while next < self.worlds.len() {
            if next == layer_end {
                layer_end = self.worlds.len();
                report.depth += 1;
            }
            let world = self.worlds[next];
            self.model.actions(&world, &mut actions);
            for action in actions.drain(..) {
                report.steps += 1;
                let reached = self.model.step(&world, action, &mut report.notes);
                for rule in std::mem::take(&mut report.notes.broken) {
                    if report.broken.iter().all(|(known, _)| *known != rule) {
                        let path = self.path(next as u32, action);
                        report.broken.push((rule, path));
                    }
                }
                if let Some(reached) = reached {
                    let to = self.number(reached, next as u32, Some(action));
                    if self.model.liveness && action.fair() != Fair::Never {
                        self.edges.push((next as u32, to, action.fair()));
                    }
                }
            }
            if until == Until::Broken && !report.broken.is_empty() {
                return;
            }
            next += 1;
        }
    }

    fn number(&mut self, world: World, from: u32, by: Option<Action>) -> u32 {
        let next = self.worlds.len() as u32;
        *self.numbers.entry(world.key()).or_insert_with(|| {
            self.worlds.push(world);
            self.parents.push((from, by));
            next
        })
    }

    fn path(&self, mut at: u32, last: Action) -> Vec<Action> {
        let mut path = vec![last];
        while let (from, Some(action)) = self.parents[at as usize] {
            path.push(action);
            at = from;
        }
        path.reverse();
        path
    }

    /// Counts the worlds from which no fair steps, `without` those of one kind, lead to an end.
    /// (AG EF: an "eventually" along each path would miss cycles.)
    fn stuck(&self, without: Fair) -> usize {
        let mut starts = vec![0_u32; self.worlds.len() + 1];
        let edges = || self.edges.iter().filter(|(_, _, fair)| *fair != without);
        for (_, to, _) in edges() {
            starts[*to as usize + 1] += 1;
        }
        for n in 1..starts.len() {
            starts[n] += starts[n - 1];
        }
        let mut fill = starts.clone();
        let mut sources = vec![0_u32; *starts.last().expect("there is one more") as usize];
        for (from, to, _) in edges() {
            sources[fill[*to as usize] as usize] = *from;
            fill[*to as usize] += 1;
        }
        let mut ends: Vec<bool> = self.worlds.iter().map(|w| self.model.is_over(w)).collect();
        let mut todo: Vec<usize> = (0..ends.len()).filter(|&n| ends[n]).collect();
        while let Some(n) = todo.pop() {
            for &from in &sources[starts[n] as usize..starts[n + 1] as usize] {
                let from = from as usize;
                if !std::mem::replace(&mut ends[from], true) {
                    todo.push(from);
                }
            }
        }
        ends.iter().filter(|end| !**end).count()
    }
}

/// A hash for a few words; the default one takes a third of the time of a run.
#[derive(Default)]
struct Mix(u64);

impl Hasher for Mix {
    fn write(&mut self, _: &[u8]) {
        unreachable!("keys are words")
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0 ^ self.0 >> 32
    }
}
