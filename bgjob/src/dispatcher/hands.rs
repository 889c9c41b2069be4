//! [`Hands`]: the hands of all served queues, and how much is wanted for them.

use std::{
    slice,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use super::hand::Hand;
use crate::store::Want;

#[derive(Debug)]
pub(super) struct Hands {
    /// One for each served queue.
    all: Vec<Arc<Hand>>,
    /// How long the fetch loop's store calls take.
    pub(super) trip: Trip,
}

impl Hands {
    pub(super) fn new(all: Vec<Arc<Hand>>) -> Self {
        Self {
            all,
            trip: Trip::default(),
        }
    }

    pub(super) fn iter(&self) -> slice::Iter<'_, Arc<Hand>> {
        self.all.iter()
    }

    /// The hand of this queue, if the queue is served.
    pub(super) fn of(&self, queue: &str) -> Option<&Arc<Hand>> {
        self.all.iter().find(|hand| *hand.queue == *queue)
    }

    /// The names of the served queues.
    pub(super) fn queues(&self) -> Vec<Arc<str>> {
        self.all
            .iter()
            .map(|hand| Arc::clone(&hand.queue))
            .collect()
    }

    /// How many jobs of each queue are wanted now. `again` includes dry queues.
    pub(super) fn wants(&self, again: bool) -> Vec<Want> {
        self.wants_of(|hand| again || !hand.dry.load(Relaxed))
    }

    /// How many jobs of each hungry queue are wanted now; queues that want none are left out.
    pub(super) fn wants_of(&self, hungry: impl Fn(&Hand) -> bool) -> Vec<Want> {
        let trip = self.trip.average();
        let hungry = self.all.iter().filter(|hand| hungry(hand));
        hungry
            .map(|hand| Want::new(Arc::clone(&hand.queue), hand.want(trip)))
            .filter(|want| want.max > 0)
            .collect()
    }

    /// Whether a slot is free that no waiting job will take.
    pub(super) fn have_room(&self) -> bool {
        self.all.iter().any(|hand| hand.has_room())
    }

    /// How many slots run a job.
    pub(super) fn busy(&self) -> usize {
        self.all.iter().map(|hand| hand.busy()).sum()
    }
}

/// A moving average of how long calls take, in nanoseconds. 0: no call was answered yet. Set by the
/// fetch loop, read by `wants_of`.
#[derive(Debug, Default)]
pub(super) struct Trip(AtomicU64);

impl Trip {
    fn average(&self) -> Duration {
        Duration::from_nanos(self.0.load(Relaxed))
    }

    pub(super) fn note(&self, took: Duration) {
        let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX / 16);
        let old = self.0.load(Relaxed);
        let new = if old == 0 {
            took
        } else {
            old - old / 4 + took / 4
        };
        self.0.store(new, Relaxed);
    }
}
