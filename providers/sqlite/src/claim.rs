//! T2 (claim).

use std::{collections::VecDeque, time::Duration};

use rusqlite::{Result, params};

use bgjob_core::{
    JobId, Timestamp,
    job::{
        ClaimedJob, Grant, Phase, Priority, Room, Serves, Token,
        transition::{self, Refusal},
    },
    store::{Claim, Claimed, Want},
};

use super::{
    lanes::{Lane, Lanes},
    rows::{self, Found, is_unreadable, light},
    tx::Tx,
    value::{Sql, get},
};

/// The rows for [`rows::held`].
const HELD_BY: &str = concat!(
    "SELECT ",
    light!(),
    ", h.since, l.queue, l.name, l.version
     FROM bgjob_held h CROSS JOIN bgjob_jobs j ON j.id = h.id
     LEFT JOIN bgjob_lanes l ON l.id = j.lane
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
     WHERE lane = ?1 AND suspect = ?5 AND rank = ?2 AND due_at = ?3 AND id = ?4";

const ANY_CRASHED: &str = "SELECT 1 FROM bgjob_ready WHERE lane = ?1 AND suspect = 1 LIMIT 1";

const NEXT_CRASHED: &str =
    "SELECT r.due_at, r.id FROM bgjob_ready r CROSS JOIN bgjob_jobs j ON j.id = r.id
     WHERE r.lane = ?1 AND r.suspect = 1 AND r.rank = ?2 AND (r.until IS NULL OR r.until > ?3)
       AND (?4 OR j.crashes + 1 < j.max_crashes)
     ORDER BY r.due_at, r.id LIMIT ?5";

const NEXT: &str = "SELECT due_at, id FROM bgjob_ready
     WHERE lane = ?1 AND suspect = 0 AND rank = ?2 AND (until IS NULL OR until > ?3) AND ?4 = ?4
     ORDER BY due_at, id LIMIT ?5";

/// The statements with which each claim walks over the entries that wait. A test makes sure that
/// they use an index, in order.
#[cfg(test)]
pub(super) const WALKS: [&str; 4] = [READ, HOLD, TAKE_OUT, NEXT];

/// A lane, and whether its entries that have crashed are meant, or the others.
type SideOf<'a> = (&'a (i64, Lane), bool);

/// The entries of one lane and rank, as far as they were read.
struct Source<'a> {
    lane: &'a (i64, Lane),
    /// The entries have crashed: they are taken one by one, and at most one suspect among them.
    crashed: bool,
    read: VecDeque<ClaimedJob>,
    /// Nothing is left after what was read.
    dry: bool,
    /// The last entry read; the next read goes on after it.
    after: (Timestamp, Option<JobId>),
    /// The entries that were taken, in order.
    taken: Vec<(Timestamp, JobId)>,
    /// All entries up to the last one taken were taken, except for those that are too late.
    all: bool,
}

impl<'a> Source<'a> {
    fn new((lane, crashed): SideOf<'a>) -> Self {
        Self {
            lane,
            crashed,
            read: VecDeque::new(),
            dry: false,
            after: (Timestamp::MIN, None),
            taken: Vec::new(),
            all: !crashed,
        }
    }

    fn head(&self) -> Option<(Timestamp, JobId)> {
        self.read.front().map(|job| (job.due_at, job.id))
    }
}

/// The progress of a claim of ready jobs.
struct Taking<'a> {
    grant: &'a Grant,
    jobs: Vec<ClaimedJob>,
    unreadable: Vec<JobId>,
    /// Whether a suspect is wanted.
    suspect: bool,
    room: Room,
    /// A job was left because there was no room for it.
    full: bool,
}

impl Taking<'_> {
    fn has(&self, queue: &str) -> usize {
        let jobs = self.jobs.iter();
        jobs.filter(|job| *job.spec.queue == *queue).count()
    }

    /// Takes a job, if there is room for it.
    fn take(&mut self, job: ClaimedJob) -> bool {
        let bytes = job.spec.bytes();
        self.full = !self.room.fits(bytes);
        if !self.full {
            self.room.take(bytes);
            self.suspect &= !job.is_suspect();
            self.jobs.push(job);
        }
        !self.full
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
        let mut room = Room::default();
        let mut answers = Vec::with_capacity(ids.len());
        for id in ids {
            answers.push(self.claim_one(*id, grant, &mut serves, &mut room)?);
        }
        Ok(answers)
    }

    fn claim_one(
        &mut self,
        id: JobId,
        grant: &Grant,
        serves: &mut Serves,
        room: &mut Room,
    ) -> Result<Claim> {
        let mut job = match self.load(id)? {
            Found::Job(job) => *job,
            Found::Unreadable(_) => return Ok(Claim::Unreadable),
            Found::Nothing => return Ok(Claim::Missing),
        };
        if job.is_suspect() && serves.suspect {
            serves.suspect = !self.holds_suspect(grant.token)?;
        }
        let before = job.clone();
        Ok(match transition::claim(&mut job, grant, serves, self.now) {
            Ok(claimed) => {
                if let Phase::Ready { .. } = before.phase {
                    if !room.fits(job.spec.bytes()) {
                        return Ok(Claim::Full);
                    }
                    room.take(job.spec.bytes());
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

    /// Claims ready jobs.
    pub(super) fn claim_ready(
        &mut self,
        want: &[Want],
        grant: &Grant,
        serves: &Serves,
    ) -> Result<Claimed> {
        let mut taking = Taking {
            grant,
            jobs: Vec::new(),
            unreadable: Vec::new(),
            suspect: serves.suspect,
            room: Room::default(),
            full: false,
        };
        if grant.repeat {
            self.held_by(&mut taking)?;
        }
        let (mut more, mut next) = (false, None);
        for Want { queue, max, .. } in want {
            let lanes = Lanes::served(self.db, queue, serves)?;
            let sides = self.sides(&lanes)?;
            let max = max.saturating_sub(taking.has(queue));
            self.take(&sides, max, &mut taking)?;
            if taking.full {
                break;
            }
            match self.next_due(&sides, &taking)? {
                Some(due_at) if due_at <= self.now => more = true,
                due_at => next = next.into_iter().chain(due_at).min(),
            }
        }
        let next = next.filter(|_| !more);
        let mut next_due_in = next.map(|due_at: Timestamp| due_at.since(self.now));
        if taking.full {
            next_due_in = Some(Duration::ZERO);
        }
        let mut claimed = Claimed::new(taking.jobs);
        claimed.next_due_in = next_due_in;
        claimed.unreadable = taking.unreadable;
        Ok(claimed)
    }

    /// The sides of these lanes that may have entries: jobs that never crashed, and jobs that have.
    fn sides<'a>(&self, lanes: &'a [(i64, Lane)]) -> Result<Vec<SideOf<'a>>> {
        let mut any = self.db.prepare_cached(ANY_CRASHED)?;
        let mut sides: Vec<_> = lanes.iter().map(|lane| (lane, false)).collect();
        for lane in lanes {
            if any.exists([lane.0])? {
                sides.push((lane, true));
            }
        }
        Ok(sides)
    }

    /// Claims at most `max` jobs from these lanes of one queue, the most urgent and then the
    /// longest due first, and at most one suspect if one is wanted.
    fn take(&mut self, sides: &[SideOf<'_>], max: usize, taking: &mut Taking<'_>) -> Result<()> {
        let full = taking.jobs.len() + max;
        for priority in Priority::ALL {
            if taking.jobs.len() == full || taking.full {
                break;
            }
            let mut sources: Vec<_> = sides.iter().map(|side| Source::new(*side)).collect();
            // A lane may have all the jobs that are wanted, or only its share. A chunk is a share,
            // as reading on costs only one more query.
            let chunk = (full - taking.jobs.len()).div_ceil(sides.len().max(1)) + 1;
            while taking.jobs.len() < full {
                let Some(nth) = self.least(&mut sources, priority, chunk, taking)? else {
                    break;
                };
                let source = &mut sources[nth];
                let job = source.read.pop_front().expect("the least one has a head");
                let (entry, suspect) = ((job.due_at, job.id), job.is_suspect());
                if !taking.take(job) {
                    break;
                }
                source.taken.push(entry);
                if suspect {
                    for source in &mut sources {
                        source.read.retain(|job| !job.is_suspect());
                    }
                }
            }
            for source in &sources {
                self.hold(source, priority, taking.grant)?;
            }
        }
        Ok(())
    }

    /// The source whose head comes first.
    fn least(
        &mut self,
        sources: &mut [Source<'_>],
        priority: Priority,
        chunk: usize,
        taking: &mut Taking<'_>,
    ) -> Result<Option<usize>> {
        // What all sources read together must fit one answer.
        let room = taking.room.left() / sources.len().max(1);
        for source in sources.iter_mut() {
            while source.read.is_empty() && !source.dry {
                self.read(source, priority, (chunk, room), taking)?;
            }
        }
        let heads = sources.iter().enumerate().filter_map(|(nth, source)| {
            let head = source.head()?;
            Some((head, nth))
        });
        Ok(heads.min().map(|(_, nth)| nth))
    }

    /// Reads the next entries of a source, with their jobs: at least one, if there is one. Suspects
    /// are read only if one is wanted.
    fn read(
        &mut self,
        source: &mut Source<'_>,
        priority: Priority,
        (chunk, room): (usize, usize),
        taking: &mut Taking<'_>,
    ) -> Result<()> {
        let (lane, kind) = source.lane;
        let token = taking.grant.token;
        let mut rows = self.db.prepare_cached(READ)?;
        let mut rows = rows.query(params![
            lane,
            source.crashed,
            priority.rank(),
            Sql(self.now),
            Sql(source.after.0),
            source.after.1.as_ref().map_or(&[][..], |id| id.as_bytes()),
            chunk as i64,
            taking.suspect,
        ])?;
        let (mut count, mut bytes) = (0, 0);
        while count == 0 || bytes <= room {
            let Some(row) = rows.next()? else {
                source.dry = count < chunk;
                break;
            };
            count += 1;
            source.after = (get(row, 4)?, get(row, 0)?);
            let job = match row.get(1)? {
                of if *lane == of => rows::claimed(row, kind, token, self.now),
                // The entry is in another lane than its job.
                of => Err(rusqlite::Error::IntegralValueOutOfRange(1, of)),
            };
            match job {
                Ok(job) => {
                    bytes += job.spec.bytes();
                    source.read.push_back(job);
                }
                Err(error) if is_unreadable(&error) => {
                    source.all = false;
                    taking.unreadable.extend(source.after.1);
                }
                Err(error) => return Err(error),
            }
        }
        if source.read.iter().any(ClaimedJob::is_suspect) && self.holds_suspect(token)? {
            // An earlier call with this token has taken a suspect.
            taking.suspect = false;
            source.read.retain(|job| !job.is_suspect());
        }
        Ok(())
    }

    /// Makes the grant hold what was taken of a source. Usually that is all up to the last entry,
    /// as entries are taken in order, except for those that are too late.
    fn hold(&mut self, source: &Source<'_>, priority: Priority, grant: &Grant) -> Result<()> {
        if !source.all {
            return self.hold_each(source, priority, grant);
        }
        let Some(&(due_at, id)) = source.taken.last() else {
            return Ok(());
        };
        let (lane, rank, now) = (source.lane.0, priority.rank(), Sql(self.now));
        let (due_at, id) = (Sql(due_at), Sql(id));
        self.db.prepare_cached(HOLD)?.execute(params![
            lane,
            source.crashed,
            rank,
            now,
            due_at,
            id,
            Sql(grant.token),
            Sql(grant.owner),
            Sql(self.now + grant.lease),
        ])?;
        self.db.prepare_cached(TAKE_OUT)?.execute(params![
            lane,
            source.crashed,
            rank,
            now,
            due_at,
            id
        ])?;
        Ok(())
    }

    fn hold_each(&mut self, source: &Source<'_>, priority: Priority, grant: &Grant) -> Result<()> {
        let (now, until) = (Sql(self.now), Sql(self.now + grant.lease));
        for &(due_at, id) in &source.taken {
            let (due_at, id) = (Sql(due_at), Sql(id));
            self.db.prepare_cached(HOLD_ONE)?.execute(params![
                id,
                Sql(grant.token),
                Sql(grant.owner),
                now,
                until
            ])?;
            self.db.prepare_cached(TAKE_OUT_ONE)?.execute(params![
                source.lane.0,
                priority.rank(),
                due_at,
                id,
                source.crashed
            ])?;
        }
        Ok(())
    }

    /// When the first of the jobs that are left is due. This reads only the first entry of each
    /// lane and rank, and more only to pass over unwanted suspects and unreadable jobs.
    fn next_due(&self, sides: &[SideOf<'_>], taking: &Taking<'_>) -> Result<Option<Timestamp>> {
        let mut look = self.db.prepare_cached(NEXT)?;
        let mut among_crashed = self.db.prepare_cached(NEXT_CRASHED)?;
        let most = i64::try_from(taking.unreadable.len() + 1).unwrap_or(i64::MAX);
        let mut next = None;
        for &(lane, crashed) in sides {
            for priority in Priority::ALL {
                let look = if crashed {
                    &mut among_crashed
                } else {
                    &mut look
                };
                let values = params![lane.0, priority.rank(), Sql(self.now), taking.suspect, most];
                let mut rows = look.query(values)?;
                while let Some(row) = rows.next()? {
                    if !taking.unreadable.contains(&get(row, 1)?) {
                        next = next.into_iter().chain(Some(get(row, 0)?)).min();
                        break;
                    }
                }
            }
        }
        Ok(next)
    }

    /// The jobs that a token holds, in the order of claims. This reads all held jobs, but only
    /// repeated claims need it.
    fn held_by(&self, taking: &mut Taking<'_>) -> Result<()> {
        let token = taking.grant.token;
        let mut rows = self.db.prepare_cached(HELD_BY)?;
        let mut rows = rows.query([Sql(token)])?;
        while let Some(row) = rows.next()? {
            match rows::held(row, token) {
                Ok(job) => {
                    taking.room.take(job.spec.bytes());
                    taking.suspect &= !job.is_suspect();
                    taking.jobs.push(job);
                }
                // It stays held, and the sweep reports it after its lease.
                Err(error) if is_unreadable(&error) => taking.unreadable.push(get(row, 0)?),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Whether a token already holds a suspect.
    fn holds_suspect(&self, token: Token) -> Result<bool> {
        self.db.prepare_cached(HOLDS_SUSPECT)?.exists([Sql(token)])
    }
}
