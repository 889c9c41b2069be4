//! Lists and counts.
//!
//! A list first finds ids in the place that needs the fewest reads: an index of the state, or the
//! narrow entries of jobs that wait or run. Then it reads these jobs.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use rusqlite::{Connection, OptionalExtension, Result, params};

use bgjob_core::{
    JobId, Timestamp,
    job::{State, limits},
    store::{Filter, Listed, Order, QueueCounts, Slice},
};

use super::{
    connect::Db,
    rows::{self, Found},
    value::{Sql, get},
};

/// The most entries of waiting jobs that are gathered for a list: about 15 ms. If there are more,
/// the list walks over the jobs themselves.
const GATHERED: usize = 100_000;

/// The most rows of jobs that a list walks over: about 15 ms.
const WALKED: usize = 50_000;

/// Ids of jobs that may fit, in order.
#[derive(Default)]
struct Ids {
    ids: Vec<JobId>,
    /// After this id there may be more.
    seen: Option<JobId>,
}

/// Which ids to look for.
struct Search<'a> {
    db: &'a Connection,
    lanes: Option<HashSet<i64>>,
    least: JobId,
    greatest: JobId,
    order: Order,
    /// The most ids to find.
    most: usize,
}

impl Search<'_> {
    fn has(&self, lane: i64) -> bool {
        self.lanes
            .as_ref()
            .is_none_or(|lanes| lanes.contains(&lane))
    }

    fn way(&self) -> &'static str {
        match self.order {
            Order::Oldest => "ASC",
            Order::Newest => "DESC",
        }
    }

    /// Whether `a` comes before `b`.
    fn is_before(&self, a: JobId, b: JobId) -> bool {
        match self.order {
            Order::Oldest => a < b,
            Order::Newest => a > b,
        }
    }

    fn sort(&self, ids: &mut [JobId]) {
        ids.sort_unstable();
        if self.order == Order::Newest {
            ids.reverse();
        }
    }

    /// The first ones of these ids, which come in any order.
    fn first_of(&self, mut ids: Vec<JobId>) -> Ids {
        ids.retain(|id| (self.least..=self.greatest).contains(id));
        self.sort(&mut ids);
        let seen = (ids.len() > self.most).then(|| ids[self.most - 1]);
        ids.truncate(self.most);
        Ids { ids, seen }
    }

    /// Walks over a query that has the least and the greatest id as its first two parameters. The
    /// query returns an id and a lane, or no lane if the row does not count.
    fn walk(&self, query: &str, state: Option<&str>) -> Result<Ids> {
        let mut rows = self
            .db
            .prepare_cached(&format!("{query} ORDER BY id {}", self.way()))?;
        let (least, greatest) = (Sql(self.least), Sql(self.greatest));
        let mut rows = match state {
            Some(state) => rows.query(params![least, greatest, state])?,
            None => rows.query(params![least, greatest])?,
        };
        let mut found = Ids::default();
        for _ in 0..WALKED {
            let Some(row) = rows.next()? else {
                return Ok(Ids {
                    seen: None,
                    ..found
                });
            };
            let id = get(row, 0)?;
            found.seen = Some(id);
            if row
                .get::<_, Option<i64>>(1)?
                .is_some_and(|lane| self.has(lane))
            {
                found.ids.push(id);
            }
            if found.ids.len() == self.most {
                break;
            }
        }
        Ok(found)
    }

    fn of(&self, state: State) -> Result<Ids> {
        match state {
            State::Ready => self.ready(),
            State::Running => {
                let held = "SELECT h.id, j.lane FROM bgjob_held h CROSS JOIN bgjob_jobs j
                     ON j.id = h.id";
                let mut rows = self.db.prepare_cached(held)?;
                let rows = rows.query_map([], |row| Ok((get(row, 0)?, row.get(1)?)))?;
                let all: Vec<(JobId, i64)> = rows.collect::<Result<_>>()?;
                let ours = all.into_iter().filter(|(_, lane)| self.has(*lane));
                Ok(self.first_of(ours.map(|(id, _)| id).collect()))
            }
            _ => self.walk(
                "SELECT id, lane FROM bgjob_jobs WHERE id BETWEEN ?1 AND ?2 AND ended = ?3",
                Some(state.as_str()),
            ),
        }
    }

    fn ready(&self) -> Result<Ids> {
        let mut ids: Vec<JobId> = Vec::new();
        let lanes: Vec<Option<i64>> = match &self.lanes {
            Some(lanes) => lanes.iter().copied().map(Some).collect(),
            None => vec![None],
        };
        for lane in lanes {
            let left = (GATHERED + 1 - ids.len()) as i64;
            let mut rows = match lane {
                Some(_) => self
                    .db
                    .prepare_cached("SELECT id FROM bgjob_ready WHERE lane = ?2 LIMIT ?1"),
                None => self
                    .db
                    .prepare_cached("SELECT id FROM bgjob_ready LIMIT ?1"),
            }?;
            let mut rows = match lane {
                Some(lane) => rows.query(params![left, lane])?,
                None => rows.query(params![left])?,
            };
            while let Some(row) = rows.next()? {
                ids.push(get(row, 0)?);
            }
            if ids.len() > GATHERED {
                return self.walk(
                    "SELECT id, CASE WHEN ended IS NULL THEN lane END FROM bgjob_jobs
                     WHERE id BETWEEN ?1 AND ?2",
                    None,
                );
            }
        }
        Ok(self.first_of(ids))
    }

    /// The ids of all these states, in order.
    fn of_all(&self, states: &[State]) -> Result<Ids> {
        if states.len() == State::ALL.len() && self.lanes.is_none() {
            return self.walk(
                "SELECT id, lane FROM bgjob_jobs WHERE id BETWEEN ?1 AND ?2",
                None,
            );
        }
        let mut all = Ids::default();
        for state in states {
            let found = self.of(*state)?;
            all.ids.extend(found.ids);
            // The ids of all states are known only up to the nearest `seen`.
            all.seen = match (all.seen, found.seen) {
                (Some(a), Some(b)) if self.is_before(b, a) => Some(b),
                (a, b) => a.or(b),
            };
        }
        if let Some(seen) = all.seen {
            all.ids.retain(|id| !self.is_before(seen, *id));
        }
        self.sort(&mut all.ids);
        if all.ids.len() > self.most {
            all.ids.truncate(self.most);
            all.seen = all.ids.last().copied();
        }
        Ok(all)
    }
}

impl Db {
    /// Lists the jobs that fit the filter, by id.
    pub(super) fn list(&mut self, filter: &Filter, slice: &Slice) -> Result<Listed> {
        let mut listed = Listed::default();
        let Some((least, greatest)) = slice.ids().filter(|_| slice.limit > 0) else {
            return Ok(listed);
        };
        let mut plain = Filter::default();
        (plain.queue, plain.names) = (filter.queue.clone(), filter.names.clone());
        plain.state = filter.state;
        let is_plain = plain == *filter;
        let found = Search {
            db: &self.db,
            lanes: lanes_of(&self.db, filter)?,
            least,
            greatest,
            order: slice.order,
            // With a plain filter all ids fit; otherwise it is unknown how many do.
            most: if is_plain {
                slice.limit
            } else {
                limits::LOOKED_AT.max(slice.limit)
            },
        };
        let mut states = State::ALL.to_vec();
        states.retain(|state| filter.fits_state(*state));
        let found = found.of_all(&states)?;
        listed.next = found.seen;
        let last = found.ids.last().copied();
        let mut bytes = 0;
        for id in found.ids {
            // The job may be gone by now, or have changed. A job that can't be read is not listed,
            // here as elsewhere.
            if let Found::Job(job) = rows::load(&self.db, id)?
                && filter.fits(&job)
            {
                bytes += job.bytes();
                listed.jobs.push(*job);
            }
            if listed.jobs.len() == slice.limit || bytes >= limits::BATCH_BYTES / 2 {
                if Some(id) != last {
                    listed.next = Some(id);
                }
                break;
            }
        }
        Ok(listed)
    }

    /// How many jobs of which name each queue has. Jobs that are over come from the tallies and are
    /// not counted here.
    pub(super) fn counts(&mut self, now: Timestamp) -> Result<Vec<QueueCounts>> {
        // A job that moves from one table to the other meanwhile must be counted once.
        let db = self.db.unchecked_transaction()?;
        let mut kinds = Kinds::read(&db)?;
        let mut side = next_side(&db, (i64::MIN, 0, 0))?;
        while let Some(found) = side {
            if let Some(counts) = kinds.of(found.0) {
                count_side(&db, found, now, counts)?;
            }
            side = next_side(&db, found)?;
        }
        let running = "SELECT j.lane, count(*) FROM bgjob_held h CROSS JOIN bgjob_jobs j
             ON j.id = h.id GROUP BY j.lane";
        let mut running = db.prepare_cached(running)?;
        let mut rows = running.query([])?;
        while let Some(row) = rows.next()? {
            if let Some(counts) = kinds.of(row.get(0)?) {
                counts.add(State::Running, row.get(1)?);
            }
        }
        let mut over = db.prepare_cached("SELECT lane, ended, max(jobs, 0) FROM bgjob_tallies")?;
        let mut rows = over.query([])?;
        while let Some(row) = rows.next()? {
            let name = row.get_ref(1)?.as_str()?;
            let state = State::ALL.into_iter().find(|state| state.as_str() == name);
            if let (Some(state), Some(counts)) = (state, kinds.of(row.get(0)?)) {
                counts.add(state, row.get(2)?);
            }
        }
        kinds.counts.retain(|counts| counts.total() > 0);
        Ok(kinds.counts)
    }
}

/// A lane, whether its jobs have crashed (`suspect`), and their rank.
type Side = (i64, i64, i64);

/// The next side, after this one, in which a job waits.
fn next_side(db: &Connection, side: Side) -> Result<Option<Side>> {
    db.prepare_cached(
        "SELECT lane, suspect, rank FROM bgjob_ready
         WHERE (lane, suspect, rank) > (?1, ?2, ?3) ORDER BY lane, suspect, rank LIMIT 1",
    )?
    .query_row(side, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
    .optional()
}

/// The lanes that fit the filter. `None` if the filter is not about lanes.
fn lanes_of(db: &Connection, filter: &Filter) -> Result<Option<HashSet<i64>>> {
    if filter.queue.is_none() && filter.names.is_empty() {
        return Ok(None);
    }
    let mut rows = db.prepare_cached("SELECT id, queue, name FROM bgjob_lanes")?;
    let mut rows = rows.query([])?;
    let mut lanes = HashSet::new();
    while let Some(row) = rows.next()? {
        let (queue, name) = (row.get_ref(1)?.as_str()?, row.get_ref(2)?.as_str()?);
        if filter.fits_kind(queue, name) {
            lanes.insert(row.get(0)?);
        }
    }
    Ok(Some(lanes))
}

/// Counts one lane's jobs of one rank.
fn count_side(
    db: &Connection,
    (lane, suspect, rank): Side,
    now: Timestamp,
    counts: &mut QueueCounts,
) -> Result<()> {
    let most = limits::COUNTED as i64;
    let of = params![lane, suspect, rank, Sql(now), most + 1];
    let (due, first): (u64, Option<Timestamp>) = db
        .prepare_cached(
            "SELECT count(*), min(due_at) FROM (SELECT due_at FROM bgjob_ready
             WHERE lane = ?1 AND suspect = ?2 AND rank = ?3 AND due_at <= ?4 LIMIT ?5)",
        )?
        .query_row(of, |row| Ok((row.get(0)?, get(row, 1)?)))?;
    let (later, again): (u64, u64) = db
        .prepare_cached(
            "SELECT count(*), coalesce(sum(started), 0) FROM (SELECT started FROM bgjob_ready
             WHERE lane = ?1 AND suspect = ?2 AND rank = ?3 AND due_at > ?4 LIMIT ?5)",
        )?
        .query_row(of, |row| Ok((row.get(0)?, row.get(1)?)))?;
    counts.due += due;
    if let Some(first) = first {
        counts.is_due_since(first, now);
    }
    counts.backing_off += again;
    counts.delayed += later - again;
    counts.more |= due.max(later) > limits::COUNTED as u64;
    Ok(())
}

/// The counts of each kind of job, and the kind of each lane.
struct Kinds {
    counts: Vec<QueueCounts>,
    lanes: HashMap<i64, usize>,
}

impl Kinds {
    fn read(db: &Connection) -> Result<Self> {
        let lanes = "SELECT id, queue, name FROM bgjob_lanes ORDER BY queue, name";
        let mut rows = db.prepare_cached(lanes)?;
        let mut rows = rows.query([])?;
        let mut kinds = Self {
            counts: Vec::new(),
            lanes: HashMap::new(),
        };
        while let Some(row) = rows.next()? {
            let (queue, name): (Arc<str>, Arc<str>) = (row.get(1)?, row.get(2)?);
            let last = kinds.counts.last();
            if last.is_none_or(|last| (&last.queue, &last.name) != (&queue, &name)) {
                kinds.counts.push(QueueCounts::new(queue, name));
            }
            kinds.lanes.insert(row.get(0)?, kinds.counts.len() - 1);
        }
        Ok(kinds)
    }

    fn of(&mut self, lane: i64) -> Option<&mut QueueCounts> {
        self.counts.get_mut(*self.lanes.get(&lane)?)
    }
}
