//! Lanes: queue, name and version of jobs, interned.
//!
//! A number may come to stand for another kind of job than the one this process knows: a backup is
//! restored, tables are emptied, an unused kind is forgotten. So a call that sends the server a
//! number also sends the stamp of its row. If the two don't match, the server rolls the call back.
//! Then this process forgets all numbers and reads them anew. An answer of the server has the names
//! of the lanes in it, or is about lanes that the call has sent.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sqlx::{Result, Row, postgres::PgRow};
use tokio::time::Instant;

use bgjob_core::job::{JobSpec, Serves};

/// The parts of a job that decide who may claim it.
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

    /// Reads the columns of a row of lanes, if there was one.
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

/// The database's key of a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Number {
    pub(super) id: i32,
    /// No other row ever has this stamp.
    pub(super) stamp: i64,
}

/// The lanes that this process knows.
#[derive(Debug, Default)]
pub(super) struct Lanes(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// The lanes of the jobs that this process has created.
    numbers: HashMap<Lane, Number>,
    /// The lanes that this process serves, by queue.
    served: HashMap<Arc<str>, Vec<(Number, Lane)>>,
    /// When this process last had unused lanes forgotten.
    purged_at: Option<Instant>,
}

/// How often a process looks for unused lanes.
const PURGE: Duration = Duration::from_secs(60);

/// A process that creates jobs of more kinds than this reads the numbers again from time to time.
const MOST: usize = 4096;

impl Lanes {
    pub(super) fn number(&self, lane: &Lane) -> Option<Number> {
        self.known().numbers.get(lane).copied()
    }

    /// Notes lanes that jobs are created in.
    pub(super) fn keep(&self, lanes: &[(Number, Lane)]) {
        let mut known = self.known();
        if known.numbers.len() + lanes.len() > MOST {
            known.numbers.clear();
        }
        let lanes = lanes.iter().map(|(number, lane)| (lane.clone(), *number));
        known.numbers.extend(lanes);
    }

    /// The known lanes of a queue that can be run.
    pub(super) fn served(&self, queue: &str, serves: &Serves) -> Vec<(Number, Lane)> {
        let known = self.known();
        let lanes = known.served.get(queue).into_iter().flatten();
        let served = lanes.filter(|(_, lane)| serves.can_run(&lane.name, lane.version));
        served.cloned().collect()
    }

    /// Notes lanes that are served.
    pub(super) fn serve(&self, lanes: Vec<(Number, Lane)>) {
        let mut known = self.known();
        for (number, lane) in lanes {
            let queue = known.served.entry(Arc::clone(&lane.queue)).or_default();
            queue.retain(|(_, other)| *other != lane);
            queue.push((number, lane));
        }
    }

    /// Forgets all numbers, as they may be wrong.
    pub(super) fn forget(&self) {
        let mut known = self.known();
        *known = Known {
            purged_at: known.purged_at,
            ..Known::default()
        };
    }

    /// Whether to look for unused lanes now. After `true` the next look is [`PURGE`] away.
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

/// The lanes of these numbers, each once, in the form that the server checks.
pub(super) fn distinct(numbers: impl IntoIterator<Item = Number>) -> (Vec<i32>, Vec<i64>) {
    let (mut ids, mut stamps) = (Vec::new(), Vec::new());
    for number in numbers {
        // Most batches have one lane.
        if ids.last() != Some(&number.id) && !ids.contains(&number.id) {
            ids.push(number.id);
            stamps.push(number.stamp);
        }
    }
    (ids, stamps)
}

/// Reads a row of lanes.
pub(super) fn lane(row: &PgRow) -> Result<Option<(Number, Lane)>> {
    let number = Number {
        id: row.try_get("id")?,
        stamp: row.try_get("stamp")?,
    };
    Ok(Lane::read(row)?.map(|lane| (number, lane)))
}
