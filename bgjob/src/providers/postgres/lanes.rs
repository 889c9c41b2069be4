//! Lanes: queue, name and version of jobs, interned.
//!
//! A number may come to stand for another kind of job than the one this process has heard of: a
//! backup is put back, tables are emptied, a kind that nobody uses is forgotten. So whoever hands
//! the server a number hands it the stamp of its row too, and the server takes back what was done
//! where the two don't belong together. Then all that was noted is forgotten and read anew. What
//! the server answers has the names in it, or is of the lanes that were handed to it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sqlx::{Result, Row, postgres::PgRow};
use tokio::time::Instant;

use crate::job::{JobSpec, Serves};

/// All that decides who may claim a job.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Lane {
    pub(super) queue: Arc<str>,
    pub(super) name: Arc<str>,
    pub(super) version: u32,
}

impl Lane {
    pub(super) fn of(spec: &JobSpec) -> Self {
        Self {
            queue: Arc::clone(&spec.queue),
            name: Arc::clone(&spec.name),
            version: spec.version,
        }
    }

    /// From the columns of a row of lanes, if there was one.
    pub(super) fn read(row: &PgRow) -> Result<Option<Self>> {
        let Some(queue) = row.try_get::<Option<&str>, _>("queue")? else {
            return Ok(None);
        };
        Ok(Some(Self {
            queue: queue.into(),
            name: row.try_get::<&str, _>("name")?.into(),
            version: u32::try_from(row.try_get::<i64, _>("version")?).unwrap_or(u32::MAX),
        }))
    }
}

/// What the database calls a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Number {
    pub(super) id: i32,
    /// No other row ever has it.
    pub(super) stamp: i64,
}

/// What this process has heard of.
#[derive(Debug, Default)]
pub(super) struct Lanes(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// Of what it has created.
    numbers: HashMap<Lane, Number>,
    /// Of what it serves, by queue.
    served: HashMap<Arc<str>, Vec<(Number, Lane)>>,
    /// When it last had those forgotten that nobody uses.
    purged_at: Option<Instant>,
}

/// How often a process looks for lanes that nobody uses.
const PURGE: Duration = Duration::from_secs(60);

/// A process that creates jobs of more kinds than this reads them again from time to time.
const MOST: usize = 4096;

impl Lanes {
    pub(super) fn number(&self, lane: &Lane) -> Option<Number> {
        self.known().numbers.get(lane).copied()
    }

    /// Learns of lanes that jobs are created in.
    pub(super) fn keep(&self, lanes: &[(Number, Lane)]) {
        let mut known = self.known();
        if known.numbers.len() + lanes.len() > MOST {
            known.numbers.clear();
        }
        let lanes = lanes.iter().map(|(number, lane)| (lane.clone(), *number));
        known.numbers.extend(lanes);
    }

    /// The lanes of a queue that can be run, as far as they are known.
    pub(super) fn served(&self, queue: &str, serves: &Serves) -> Vec<(Number, Lane)> {
        let known = self.known();
        let lanes = known.served.get(queue).into_iter().flatten();
        let served = lanes.filter(|(_, lane)| serves.can_run(&lane.name, lane.version));
        served.cloned().collect()
    }

    /// Learns of lanes that are served.
    pub(super) fn serve(&self, lanes: Vec<(Number, Lane)>) {
        let mut known = self.known();
        for (number, lane) in lanes {
            let queue = known.served.entry(Arc::clone(&lane.queue)).or_default();
            queue.retain(|(_, other)| *other != lane);
            queue.push((number, lane));
        }
    }

    /// What was noted is not so any more.
    pub(super) fn forget(&self) {
        let mut known = self.known();
        *known = Known {
            purged_at: known.purged_at,
            ..Known::default()
        };
    }

    /// Whether it is time to look for lanes that nobody uses. If so, it is done.
    pub(super) fn may_be_purged(&self) -> bool {
        let mut known = self.known();
        let may = known.purged_at.is_none_or(|at| at.elapsed() >= PURGE);
        if may {
            known.purged_at = Some(Instant::now());
        }
        may
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The lanes of these numbers, each once, as the server checks them.
pub(super) fn distinct(numbers: impl IntoIterator<Item = Number>) -> (Vec<i32>, Vec<i64>) {
    let (mut ids, mut stamps) = (Vec::new(), Vec::new());
    for number in numbers {
        // Batches mostly have one lane.
        if ids.last() != Some(&number.id) && !ids.contains(&number.id) {
            ids.push(number.id);
            stamps.push(number.stamp);
        }
    }
    (ids, stamps)
}

/// A row of lanes.
pub(super) fn lane(row: &PgRow) -> Result<Option<(Number, Lane)>> {
    let number = Number {
        id: row.try_get("id")?,
        stamp: row.try_get("stamp")?,
    };
    Ok(Lane::read(row)?.map(|lane| (number, lane)))
}
