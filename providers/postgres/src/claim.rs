//! T2 (claim).

use std::{collections::HashMap, time::Duration};

use sqlx::{Row, postgres::PgRow};
use uuid::Uuid;

use bgjob_core::{
    JobId, Owner, Result, Timestamp,
    job::{
        ClaimedJob, Grant, Phase, Room, Serves, Token,
        transition::{self, Refusal, SweepPolicy},
    },
    store::{Claim, Claimed, Want},
};

use super::{
    change::TRIES,
    create::millis,
    db::{Call, Db, call, queues, uuids, versions},
    end::Succeeded,
    error::{is_stale, translate},
    floors::{Area, Search},
    head::Head,
    lanes::Lane,
    load::Loaded,
    rows::{self, Stored},
};

/// Where a claim looks, and how much it may take.
#[derive(Default)]
struct Look {
    area: Area,
    /// The stamp of each lane.
    stamps: Vec<i64>,
    /// The lanes by number, for the jobs found in them.
    kinds: HashMap<i32, Lane>,
    room: Room,
}

impl Db {
    /// Claims ready jobs, after these jobs have succeeded.
    pub(super) async fn claim_ready(
        &self,
        succeeded: Option<&Succeeded>,
        want: &[Want],
        grant: &Grant,
        serves: &Serves,
    ) -> Result<(Vec<JobId>, Claimed)> {
        let mut all = Claimed::default();
        if grant.repeat {
            self.held_by(grant.token, &mut all).await?;
        }
        let mut serves = serves.clone();
        let mut succeeded = succeeded;
        let mut done = Vec::new();
        let mut tries = 1..TRIES;
        loop {
            serves.suspect &= all.jobs.iter().all(|job| !job.is_suspect());
            let look = self.look(want, &all.jobs, &serves);
            let claim = self.claim_call(succeeded, &look, want, grant, &serves);
            let rows = match self.rows(claim).await {
                // The numbers of the claim stand for other kinds of jobs by now, and nothing was
                // done.
                Err(error) if is_stale(&error) && tries.next().is_some() => {
                    self.forget_numbers();
                    self.learn(want, &serves).await?;
                    continue;
                }
                rows => rows?,
            };
            let (head, rows) = rows.split_first().expect("the first row is always there");
            let head = Head::read(head).map_err(translate)?;
            done.extend(head.done.iter().copied());
            let again = !all.jobs.is_empty();
            let mut found = self.found(rows, &look, grant.token, &mut all).await?;
            found.sort_by_cached_key(|job| in_line(want, job));
            self.floors.learn(&Search {
                want,
                area: &look.area,
                walk: &head.walk,
                found: &found,
                all: !head.full && found.len() == rows.len(),
            });
            all.jobs.append(&mut found);
            if again {
                all.jobs.sort_by_cached_key(|job| in_line(want, job));
            }
            if head.lanes > look.kinds.len() && !head.full && tries.next().is_some() {
                // Jobs of a kind that this process does not know yet may be among those that wait.
                // This claim must find them, or the time they are due.
                self.learn(want, &serves).await?;
                succeeded = None;
                continue;
            }
            let now = head.walk.now;
            let due_in = |due_at: Timestamp| (due_at > now).then(|| due_at.since(now));
            all.next_due_in = head.next.and_then(due_in);
            if head.full {
                all.next_due_in = Some(Duration::ZERO);
            }
            return Ok((done, all));
        }
    }

    /// The jobs of a claim's answer. A job that can't be read is given back untouched.
    async fn found(
        &self,
        rows: &[PgRow],
        look: &Look,
        token: Token,
        all: &mut Claimed,
    ) -> Result<Vec<ClaimedJob>> {
        let mut found = Vec::with_capacity(rows.len());
        let mut unreadable = Vec::new();
        for row in rows {
            let lane: i32 = row.try_get("lane").map_err(translate)?;
            let job = look
                .kinds
                .get(&lane)
                .map(|lane| rows::claimed(row, lane, token));
            match job {
                Some(Ok(job)) => found.push(job),
                Some(Err(_)) | None => unreadable.push(rows::id(row).map_err(translate)?),
            }
        }
        if !unreadable.is_empty() {
            self.unclaim(token, &unreadable).await?;
            all.unreadable.append(&mut unreadable);
        }
        Ok(found)
    }

    async fn unclaim(&self, token: Token, ids: &[JobId]) -> Result<()> {
        self.skipped.add(ids);
        let unclaim = call(&self.sql.unclaim)
            .bind(self.clock())
            .bind(Uuid::from_bytes(*token.as_bytes()))
            .bind(uuids(ids))
            .bind(millis(SweepPolicy::TOUCH));
        self.rows(unclaim).await.map(drop)
    }

    fn look(&self, want: &[Want], held: &[ClaimedJob], serves: &Serves) -> Look {
        let mut look = Look::default();
        held.iter().for_each(|job| look.room.take(job.spec.bytes()));
        for (nth, Want { queue, max, .. }) in want.iter().enumerate() {
            let have = held.iter().filter(|job| job.spec.queue == *queue).count();
            let left = max.saturating_sub(have);
            look.area.max.push(i32::try_from(left).unwrap_or(i32::MAX));
            for (number, lane) in self.lanes.served(queue, serves) {
                look.area.lanes.push(number.id);
                look.stamps.push(number.stamp);
                look.area
                    .of
                    .push(i32::try_from(nth + 1).unwrap_or(i32::MAX));
                look.kinds.insert(number.id, lane);
            }
        }
        look
    }

    fn claim_call(
        &self,
        succeeded: Option<&Succeeded>,
        look: &Look,
        want: &[Want],
        grant: &Grant,
        serves: &Serves,
    ) -> Call {
        let first = match succeeded {
            Some(jobs) => jobs.bind(call(&self.sql.succeed_and_claim), self.clock()),
            None => call(&self.sql.claim_ready).bind(self.clock()),
        };
        let (names, versions) = versions(serves);
        let first = first
            .bind(look.area.lanes.clone())
            .bind(look.stamps.clone())
            .bind(look.area.of.clone())
            .bind(look.area.max.clone())
            .bind(serves.suspect)
            .bind(self.floors.of(&look.area))
            .bind(i64::try_from(look.room.left()).unwrap_or(i64::MAX))
            .bind(!look.room.is_used())
            .bind(self.skipped.ids())
            .bind(queues(want))
            .bind(names)
            .bind(versions);
        held_as(first, grant)
    }

    /// Claims of nothing: one without successes, and one with an empty list of them.
    pub(super) fn no_claims(&self) -> [Call; 2] {
        // No lane has this number, and no stamp goes with it.
        let look = Look {
            area: Area {
                lanes: vec![-1],
                of: vec![1],
                max: vec![1],
            },
            ..Look::default()
        };
        let (token, owner) = (Token::from_bytes([0; 16]), Owner::from_bytes([0; 16]));
        let grant = Grant::new(token, owner, Duration::ZERO);
        let serves = Serves::default();
        let none = Succeeded::of(&[]);
        [None, Some(&none)].map(|succeeded| self.claim_call(succeeded, &look, &[], &grant, &serves))
    }

    /// The jobs that a token holds, in the order of claims.
    async fn held_by(&self, token: Token, all: &mut Claimed) -> Result<()> {
        let held = call(&self.sql.held_by).bind(Uuid::from_bytes(*token.as_bytes()));
        let mut unreadable = Vec::new();
        for row in self.rows(held).await? {
            match rows::held(&row, token) {
                Ok(job) => all.jobs.push(job),
                Err(_) => unreadable.push(rows::id(&row).map_err(translate)?),
            }
        }
        if !unreadable.is_empty() {
            self.unclaim(token, &unreadable).await?;
            all.unreadable.append(&mut unreadable);
        }
        Ok(())
    }

    /// Claims by id.
    pub(super) async fn claim(
        &self,
        ids: &[JobId],
        grant: &Grant,
        serves: &Serves,
    ) -> Result<Vec<Claim>> {
        let mut serves = serves.clone();
        let mut answers: HashMap<JobId, Claim> = HashMap::with_capacity(ids.len());
        let mut room = Room::default();
        let mut tries = 0;
        let mut open: Vec<JobId> = ids.to_vec();
        while !open.is_empty() && tries < TRIES && room.left() > 0 {
            let mut loaded = self.load(&open).await?;
            let stored = &mut loaded.jobs;
            if serves.suspect && stored.values().any(|stored| stored.job.is_suspect()) {
                serves.suspect = !self.holds_suspect(grant.token).await?;
            }
            let unreadable = loaded.unreadable.iter();
            answers.extend(unreadable.map(|(id, _)| (*id, Claim::Unreadable)));
            let mut entries = Vec::new();
            for id in open {
                if entries.contains(&id) || answers.contains_key(&id) || loaded.later.contains(&id)
                {
                    continue;
                }
                let Some(stored) = stored.get_mut(&id) else {
                    answers.insert(id, Claim::Missing);
                    continue;
                };
                let bytes = stored.job.spec.bytes();
                match decide(stored, grant, &mut serves, loaded.now) {
                    Some(answer) => _ = answers.insert(id, answer),
                    None if !room.fits(bytes) => _ = answers.insert(id, Claim::Full),
                    None => {
                        room.take(bytes);
                        entries.push(id);
                    }
                }
            }
            let taken = self.take(&entries, &loaded, grant).await?;
            let taken = taken.into_iter();
            answers.extend(taken.map(|(id, job)| (id, Claim::Claimed(job))));
            // A job that was Ready and was not taken has changed meanwhile: look again.
            entries.retain(|id| !answers.contains_key(id));
            tries += usize::from(!entries.is_empty());
            open = entries;
            open.append(&mut loaded.later);
        }
        let rest = match room.left() {
            0 => Claim::Full,
            _ => Claim::Busy,
        };
        let answer = |id| answers.get(id).unwrap_or(&rest).clone();
        Ok(ids.iter().map(answer).collect())
    }

    /// Moves entries out of `ready` into a grant.
    async fn take(
        &self,
        entries: &[JobId],
        loaded: &Loaded,
        grant: &Grant,
    ) -> Result<HashMap<JobId, ClaimedJob>> {
        let mut taken = HashMap::new();
        if entries.is_empty() {
            return Ok(taken);
        }
        let mut entries: Vec<&Stored> = entries.iter().map(|id| &loaded.jobs[id]).collect();
        entries.sort_by_key(|entry| entry.job.id);
        let column =
            |value: fn(&Stored) -> i64| entries.iter().map(|e| value(e)).collect::<Vec<_>>();
        let ranks = column(|entry| entry.job.spec.priority.rank().into());
        let take = call(&self.sql.claim_entries)
            .bind(loaded.now.as_millis())
            .bind(entries.iter().map(|entry| entry.lane).collect::<Vec<_>>())
            .bind(
                entries
                    .iter()
                    .map(|entry| entry.suspect)
                    .collect::<Vec<_>>(),
            )
            .bind(
                ranks
                    .iter()
                    .map(|rank| i16::try_from(*rank).unwrap_or(3))
                    .collect::<Vec<_>>(),
            )
            .bind(column(|entry| entry.job.due_at.as_millis()))
            .bind(
                entries
                    .iter()
                    .map(|entry| Uuid::from(entry.job.id))
                    .collect::<Vec<_>>(),
            );
        for row in self.rows(held_as(take, grant)).await? {
            let id = rows::id(&row).map_err(translate)?;
            // The job is of the same kind as when it was read.
            let lane = Lane::of(&loaded.jobs[&id].job.spec);
            let job = rows::claimed(&row, &lane, grant.token).map_err(translate)?;
            taken.insert(id, job);
        }
        Ok(taken)
    }

    async fn holds_suspect(&self, token: Token) -> Result<bool> {
        let ask = call(&self.sql.holds_suspect).bind(Uuid::from_bytes(*token.as_bytes()));
        self.row(ask).await?.try_get("holds").map_err(translate)
    }
}

/// The place of a job among those that were claimed with it.
fn in_line(want: &[Want], job: &ClaimedJob) -> (Option<usize>, u8, Timestamp, JobId) {
    let nth = want.iter().position(|want| want.queue == job.spec.queue);
    (nth, job.spec.priority.rank(), job.due_at, job.id)
}

/// The answer to a claim of this job. `None`: take its entry.
fn decide(
    stored: &mut Stored,
    grant: &Grant,
    serves: &mut Serves,
    now: Timestamp,
) -> Option<Claim> {
    let ready = matches!(stored.job.phase, Phase::Ready { .. });
    match transition::claim(&mut stored.job, grant, serves, now) {
        Ok(claimed) if ready => {
            serves.suspect &= !claimed.is_suspect();
            None
        }
        Ok(claimed) => Some(Claim::Claimed(claimed)),
        Err(Refusal::NotDue) => Some(Claim::NotDue),
        Err(Refusal::Busy) => Some(Claim::Busy),
        Err(Refusal::NotServed) => Some(Claim::NotServed),
        Err(Refusal::Terminal) => Some(Claim::Terminal),
    }
}

fn held_as(call: Call, grant: &Grant) -> Call {
    call.bind(Uuid::from_bytes(*grant.token.as_bytes()))
        .bind(Uuid::from_bytes(*grant.owner.as_bytes()))
        .bind(millis(grant.lease))
}
