//! T2: claims.

use std::collections::VecDeque;

use rusqlite::{Result, params};

use crate::{
    JobId, Timestamp,
    job::{
        ClaimedJob, Grant, Phase, Priority, Serves, Token,
        transition::{self, Refusal},
    },
    store::{Claim, Claimed, Want},
};

use super::{
    rows::{self, light},
    tx::Tx,
};

/// Column 18, behind those of [`rows::LIGHT`], is when the job was claimed.
const HELD_BY: &str = concat!(
    "SELECT ",
    light!(),
    ", h.since FROM bgjob_held h CROSS JOIN bgjob_jobs j ON j.id = h.id
     WHERE h.token = ?1 ORDER BY j.rank, j.due_at, j.id"
);

const HOLDS_SUSPECT: &str = "SELECT 1 FROM bgjob_held h CROSS JOIN bgjob_jobs j ON j.id = h.id
     WHERE h.token = ?1 AND j.crashes > 0 AND j.crashes + 1 >= j.max_crashes";

const READ: &str = concat!(
    "SELECT ",
    light!(),
    " FROM bgjob_ready r CROSS JOIN bgjob_jobs j ON j.id = r.id
     WHERE r.lane = ?1 AND r.suspect = ?2 AND r.rank = ?3 AND r.due_at <= ?4
       AND (r.due_at, r.id) > (?5, ?6) AND (r.until IS NULL OR r.until > ?4)
       AND (?8 OR j.crashes = 0 OR j.crashes + 1 < j.max_crashes)
     ORDER BY r.due_at, r.id LIMIT ?7"
);

const HOLD: &str = "INSERT INTO bgjob_held(id, token, owner, since, lease_until)
     SELECT id, ?7, ?8, ?4, ?9 FROM bgjob_ready
     WHERE lane = ?1 AND suspect = ?2 AND rank = ?3
       AND (due_at, id) <= (?5, ?6) AND (until IS NULL OR until > ?4)";

const TAKE_OUT: &str = "DELETE FROM bgjob_ready
     WHERE lane = ?1 AND suspect = ?2 AND rank = ?3
       AND (due_at, id) <= (?5, ?6) AND (until IS NULL OR until > ?4)";

const HOLD_ONE: &str = "INSERT INTO bgjob_held(id, token, owner, since, lease_until)
     VALUES(?1, ?2, ?3, ?4, ?5)";

const TAKE_OUT_ONE: &str = "DELETE FROM bgjob_ready
     WHERE lane = ?1 AND suspect = 1 AND rank = ?2 AND due_at = ?3 AND id = ?4";

const ANY_CRASHED: &str = "SELECT 1 FROM bgjob_ready WHERE lane = ?1 AND suspect = 1 LIMIT 1";

const NEXT_CRASHED: &str =
    "SELECT r.due_at FROM bgjob_ready r CROSS JOIN bgjob_jobs j ON j.id = r.id
     WHERE r.lane = ?1 AND r.suspect = 1 AND r.rank = ?2 AND (r.until IS NULL OR r.until > ?3)
       AND (?4 OR j.crashes + 1 < j.max_crashes)
     ORDER BY r.due_at, r.id LIMIT 1";

const NEXT: &str = "SELECT due_at FROM bgjob_ready
     WHERE lane = ?1 AND suspect = ?2 AND rank = ?3 AND (until IS NULL OR until > ?4)
     ORDER BY due_at, id LIMIT 1";

/// What each claim runs through the entries that wait; a test sees to it that they are found by an
/// index, in order.
#[cfg(test)]
pub(super) const WALKS: [&str; 4] = [READ, HOLD, TAKE_OUT, NEXT];

/// Entries of one lane and rank, as far as they were read.
struct Source {
    lane: i64,
    /// Those that have crashed: they are taken one by one, and of the suspects among them one.
    crashed: bool,
    read: VecDeque<ClaimedJob>,
    /// Nothing is left behind what was read.
    dry: bool,
    /// Where to read on.
    after: (Timestamp, Option<JobId>),
    /// What was taken, in order. Of those that never crashed the last: it and all before it are
    /// claimed.
    taken: Vec<(Timestamp, JobId)>,
}

impl Source {
    fn new(lane: i64, crashed: bool) -> Self {
        Self {
            lane,
            crashed,
            read: VecDeque::new(),
            dry: false,
            after: (Timestamp::MIN, None),
            taken: Vec::new(),
        }
    }

    fn head(&self) -> Option<(Timestamp, JobId)> {
        self.read.front().map(|job| (job.due_at, job.id))
    }

    fn take(&mut self) -> ClaimedJob {
        let job = self.read.pop_front().expect("it has a head");
        if !self.crashed {
            self.taken.clear();
        }
        self.taken.push((job.due_at, job.id));
        job
    }
}

impl Tx<'_> {
    /// Claims by id.
    pub(super) fn claim(
        &mut self,
        ids: &[JobId],
        grant: &Grant,
        serves: &Serves,
    ) -> Result<Vec<Claim>> {
        let mut serves = serves.clone();
        let mut answers = Vec::with_capacity(ids.len());
        for id in ids {
            let answer = self.claim_one(*id, grant, &mut serves)?;
            answers.push(answer);
        }
        Ok(answers)
    }

    fn claim_one(&mut self, id: JobId, grant: &Grant, serves: &mut Serves) -> Result<Claim> {
        let Some(mut job) = self.load(id)? else {
            return Ok(Claim::Missing);
        };
        if job.is_suspect() && serves.suspect {
            serves.suspect = !self.holds_suspect(grant.token)?;
        }
        let before = job.clone();
        Ok(match transition::claim(&mut job, grant, serves, self.now) {
            Ok(claimed) => {
                if let Phase::Ready { .. } = before.phase {
                    self.leave(&before)?;
                    self.enter(&job)?;
                }
                Claim::Claimed(claimed)
            }
            Err(Refusal::NotDue) => Claim::NotDue,
            Err(Refusal::Busy) => Claim::Busy,
            Err(Refusal::NotServed) => Claim::NotServed,
            Err(Refusal::Terminal) => Claim::Terminal,
        })
    }

    /// Claims what is ready.
    pub(super) fn claim_ready(
        &mut self,
        want: &[Want],
        grant: &Grant,
        serves: &Serves,
    ) -> Result<Claimed> {
        self.lanes.refresh(self.db)?;
        let mut jobs = Vec::new();
        if grant.repeat {
            jobs = self.held_by(grant.token)?;
        }
        let mut suspect = serves.suspect && jobs.iter().all(|job| !job.is_suspect());
        let (mut more, mut next) = (false, None);
        for Want { queue, max } in want {
            let held = jobs.iter().filter(|job| job.spec.queue == *queue).count();
            let lanes: Vec<i64> = self.lanes.served(queue, serves).collect();
            let lanes = self.sides(&lanes)?;
            self.take(
                &lanes,
                max.saturating_sub(held),
                &mut suspect,
                grant,
                &mut jobs,
            )?;
            match self.next_due(&lanes, suspect)? {
                Some(due_at) if due_at <= self.now => more = true,
                due_at => next = next.into_iter().chain(due_at).min(),
            }
        }
        let next_due_in = next
            .filter(|_| !more)
            .map(|due_at: Timestamp| due_at.since(self.now));
        Ok(Claimed {
            jobs,
            next_due_in,
            unreadable: Vec::new(),
        })
    }

    /// The sides of these lanes that may have entries: of who never crashed, and of who has.
    fn sides(&mut self, lanes: &[i64]) -> Result<Vec<(i64, bool)>> {
        let mut any = self.db.prepare_cached(ANY_CRASHED)?;
        let mut sides: Vec<_> = lanes.iter().map(|lane| (*lane, false)).collect();
        for lane in lanes {
            if any.exists([lane])? {
                sides.push((*lane, true));
            }
        }
        Ok(sides)
    }

    /// Claims at most `max` from these lanes of one queue, the most urgent and then the longest due
    /// first, and at most one suspect if one is wanted.
    fn take(
        &mut self,
        lanes: &[(i64, bool)],
        max: usize,
        suspect: &mut bool,
        grant: &Grant,
        jobs: &mut Vec<ClaimedJob>,
    ) -> Result<()> {
        let full = jobs.len() + max;
        for priority in Priority::ALL {
            if jobs.len() == full {
                break;
            }
            let sides = lanes.iter();
            let mut sources: Vec<_> = sides.map(|side| Source::new(side.0, side.1)).collect();
            // Each lane may have all of it, or its share: reading on costs one more query.
            let chunk = (full - jobs.len()).div_ceil(lanes.len().max(1)) + 1;
            while jobs.len() < full {
                let Some(nth) = self.least(&mut sources, priority, chunk, suspect, grant.token)?
                else {
                    break;
                };
                let job = sources[nth].take();
                if job.is_suspect() {
                    *suspect = false;
                    for source in &mut sources {
                        source.read.retain(|job| !job.is_suspect());
                    }
                }
                jobs.push(job);
            }
            for source in &sources {
                self.hold(source, priority, grant)?;
            }
        }
        Ok(())
    }

    /// The source whose head comes first.
    fn least(
        &mut self,
        sources: &mut [Source],
        priority: Priority,
        chunk: usize,
        suspect: &mut bool,
        token: Token,
    ) -> Result<Option<usize>> {
        for source in sources.iter_mut() {
            while source.read.is_empty() && !source.dry {
                self.read(source, priority, chunk, suspect, token)?;
            }
        }
        let heads = sources.iter().enumerate().filter_map(|(nth, source)| {
            let head = source.head()?;
            Some((head, nth))
        });
        Ok(heads.min().map(|(_, nth)| nth))
    }

    /// Reads the next entries of a source, with their jobs; suspects only where one is wanted.
    fn read(
        &mut self,
        source: &mut Source,
        priority: Priority,
        chunk: usize,
        suspect: &mut bool,
        token: Token,
    ) -> Result<()> {
        let lane = self.lanes.get(self.db, source.lane)?;
        let mut rows = self.db.prepare_cached(READ)?;
        let mut rows = rows.query(params![
            source.lane,
            source.crashed,
            priority.rank(),
            self.now,
            source.after.0,
            source.after.1.as_ref().map_or(&[][..], |id| id.as_bytes()),
            chunk as i64,
            *suspect,
        ])?;
        let mut count = 0;
        while let Some(row) = rows.next()? {
            source
                .read
                .push_back(rows::claimed(row, lane, token, self.now)?);
            count += 1;
        }
        source.dry = count < chunk;
        if let Some(job) = source.read.back() {
            source.after = (job.due_at, Some(job.id));
        }
        if source.read.iter().any(ClaimedJob::is_suspect) && self.holds_suspect(token)? {
            // An earlier call with this token has taken one.
            *suspect = false;
            source.read.retain(|job| !job.is_suspect());
        }
        Ok(())
    }

    /// Makes the grant hold what was taken of a source.
    fn hold(&mut self, source: &Source, priority: Priority, grant: &Grant) -> Result<()> {
        if source.crashed {
            return self.hold_each(source, priority, grant);
        }
        // All up to the last one, as they were taken in order, but for those that are too late.
        let Some((due_at, id)) = source.taken.last() else {
            return Ok(());
        };
        let rank = priority.rank();
        self.db.prepare_cached(HOLD)?.execute(params![
            source.lane,
            source.crashed,
            rank,
            self.now,
            due_at,
            id,
            grant.token,
            grant.owner,
            self.now + grant.lease,
        ])?;
        self.db.prepare_cached(TAKE_OUT)?.execute(params![
            source.lane,
            source.crashed,
            rank,
            self.now,
            due_at,
            id
        ])?;
        Ok(())
    }

    fn hold_each(&mut self, source: &Source, priority: Priority, grant: &Grant) -> Result<()> {
        let until = self.now + grant.lease;
        for (due_at, id) in &source.taken {
            self.db.prepare_cached(HOLD_ONE)?.execute(params![
                id,
                grant.token,
                grant.owner,
                self.now,
                until
            ])?;
            self.db.prepare_cached(TAKE_OUT_ONE)?.execute(params![
                source.lane,
                priority.rank(),
                due_at,
                id
            ])?;
        }
        Ok(())
    }

    /// When the first of those that are left is due. It is not more than a look at the first entry
    /// of each lane and rank, but for suspects that are not wanted.
    fn next_due(&mut self, lanes: &[(i64, bool)], suspect: bool) -> Result<Option<Timestamp>> {
        let mut look = self.db.prepare_cached(NEXT)?;
        let mut among_crashed = self.db.prepare_cached(NEXT_CRASHED)?;
        let mut next = None;
        for &(lane, crashed) in lanes {
            for priority in Priority::ALL {
                let rank = priority.rank();
                let mut rows = if crashed {
                    among_crashed.query(params![lane, rank, self.now, suspect])?
                } else {
                    look.query(params![lane, false, rank, self.now])?
                };
                if let Some(row) = rows.next()? {
                    next = next.into_iter().chain(Some(row.get(0)?)).min();
                }
            }
        }
        Ok(next)
    }

    /// What a token holds, in the order of claims. Reads all that is held: only repeats ask.
    fn held_by(&mut self, token: Token) -> Result<Vec<ClaimedJob>> {
        let mut rows = self.db.prepare_cached(HELD_BY)?;
        let mut rows = rows.query([token])?;
        let mut jobs = Vec::new();
        while let Some(row) = rows.next()? {
            let lane = self.lanes.get(self.db, row.get(1)?)?;
            jobs.push(rows::claimed(row, lane, token, row.get(18)?)?);
        }
        Ok(jobs)
    }

    /// Whether a token holds a suspect already.
    fn holds_suspect(&mut self, token: Token) -> Result<bool> {
        self.db.prepare_cached(HOLDS_SUSPECT)?.exists([token])
    }
}
