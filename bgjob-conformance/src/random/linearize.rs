//! Whether calls that overlapped can be explained by some order of them.
//!
//! The search of Wing and Gong: of the calls that are left, try each one that no other precedes as
//! the next, and go on with the rest. States that were tried before are not tried again.

use std::collections::HashMap;

use super::{
    model::Model,
    op::{Answer, Op},
};

/// A call with its answer, and the moments before and after it.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) thread: usize,
    pub(super) op: Op,
    pub(super) answer: Answer,
    pub(super) called: u64,
    pub(super) answered: u64,
    /// The step of the same call that comes first: an end and a claim in one call are two steps.
    pub(super) after: Option<usize>,
}

impl Event {
    /// Whether this call was over before the other one began.
    fn precedes(&self, other: &Self) -> bool {
        self.answered < other.called
    }
}

/// Whether there is such an order.
pub(super) fn linearizable(start: &Model, events: &[Event]) -> bool {
    assert!(events.len() < 64, "a set of events is kept in 64 bits");
    let mut search = Search {
        events,
        seen: HashMap::new(),
    };
    search.goes_on(start, 0)
}

struct Search<'a> {
    events: &'a [Event],
    /// The states that were reached by these events. None of them led to an order.
    seen: HashMap<u64, Vec<Model>>,
}

impl Search<'_> {
    fn goes_on(&mut self, model: &Model, done: u64) -> bool {
        if done.count_ones() as usize == self.events.len() {
            return true;
        }
        let seen = self.seen.entry(done).or_default();
        if seen.contains(model) {
            return false;
        }
        seen.push(model.clone());
        let open: Vec<_> = (0..self.events.len())
            .filter(|n| done & 1 << n == 0)
            .collect();
        for &nth in &open {
            let event = &self.events[nth];
            let waits = open.iter().any(|&n| self.events[n].precedes(event));
            if waits || event.after.is_some_and(|first| open.contains(&first)) {
                continue;
            }
            let mut next = model.clone();
            if next.judge(&event.op, &event.answer).is_ok() && self.goes_on(&next, done | 1 << nth)
            {
                return true;
            }
        }
        false
    }
}
