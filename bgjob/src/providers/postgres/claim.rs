//! T2: claims.

use std::{collections::HashMap, time::Duration};

use sqlx::{Row, postgres::PgRow};
use tokio::time::Instant;
use uuid::Uuid;

use crate::{
    JobId, Owner, Result, Timestamp,
    job::{
        ClaimedJob, Grant, Phase, Serves, Token,
        transition::{self, Refusal},
    },
    store::{Claim, Claimed, Want},
};

use super::{
    change::TRIES,
    create::millis,
    db::{Call, Db, call},
    end::Succeeded,
    error::translate,
    floors::{Below, Picture, Search},
    rows::{self, Stored},
};

/// What a claim is to look into: lanes, which of the wants each is for, and how many of each want.
struct Look {
    lanes: Vec<i32>,
    of: Vec<i32>,
    max: Vec<i32>,
}

impl Db {
    /// Claims what is ready, after these jobs have succeeded.
    pub(super) async fn claim_ready(
        &self,
        succeeded: Option<&Succeeded>,
        want: &[Want],
        grant: &Grant,
        serves: &Serves,
    ) -> Result<(Vec<JobId>, Claimed)> {
        let mut jobs = Vec::new();
        if grant.repeat {
            jobs = self.held_by(grant.token).await?;
        }
        let mut serves = serves.clone();
        let mut succeeded = succeeded;
        let mut done = Vec::new();
        loop {
            serves.suspect &= jobs.iter().all(|job| !job.is_suspect());
            // Before it looks: what others of this process hear of meanwhile is not in the look.
            let known = self.lanes.count();
            let look = self.look(want, &jobs, &serves);
            let claim = self.claim_call(succeeded, &look, grant, &serves);
            let rows = self.rows(claim).await?;
            let (head, rows) = rows.split_first().expect("the first row is always there");
            let head = Head::read(head).map_err(translate)?;
            done.extend(head.done.iter().copied());
            let mut found = Vec::with_capacity(rows.len());
            for row in rows {
                found.push(self.claimed(row, grant.token).await?);
            }
            found.sort_by_cached_key(|job| in_line(want, job));
            self.floors.learn(&Search {
                want,
                lanes: &look.lanes,
                of: &look.of,
                max: &look.max,
                found: &found,
                walked: head.walked,
                now: head.now.as_millis(),
                picture: head.picture.as_ref(),
            });
            let again = !jobs.is_empty();
            jobs.append(&mut found);
            if again {
                jobs.sort_by_cached_key(|job| in_line(want, job));
            }
            if head.lanes > known {
                // Jobs of a kind that this process has not heard of may be among those that wait:
                // the next claim is to see them, and this one if there is room left.
                self.refresh_lanes().await?;
                if lacks(want, &jobs) {
                    succeeded = None;
                    continue;
                }
            }
            let next_due_in = head
                .next
                .filter(|due_at| *due_at > head.now)
                .map(|due_at| due_at.since(head.now));
            let claimed = Claimed {
                jobs,
                next_due_in,
                unreadable: Vec::new(),
            };
            return Ok((done, claimed));
        }
    }

    /// Looks for entries that claims pass over.
    pub(super) async fn look_below(&self) -> Result<()> {
        let Some(Below {
            lanes,
            floors,
            span,
        }) = self.floors.to_look()
        else {
            return Ok(());
        };
        let begun = Instant::now();
        let look = call(&self.sql.below).bind(lanes).bind(floors).bind(span);
        let rows = self.rows(look).await?;
        let took = begun.elapsed();
        let read = || {
            let (walked, below) = rows.split_last().expect("the last row is always there");
            let below = below.iter().map(|row| {
                let rank: i32 = row.try_get("rank")?;
                let rank = usize::try_from(rank).unwrap_or(0);
                Ok((row.try_get("lane")?, rank, row.try_get("due_at")?))
            });
            let walked: i64 = walked.try_get("due_at")?;
            Ok((walked, below.collect::<sqlx::Result<Vec<_>>>()?))
        };
        let (walked, below) = read().map_err(translate)?;
        let walked = u64::try_from(walked).unwrap_or(0);
        self.floors.looked(span, &below, walked, took);
        Ok(())
    }

    fn look(&self, want: &[Want], held: &[ClaimedJob], serves: &Serves) -> Look {
        let mut look = Look {
            lanes: Vec::new(),
            of: Vec::new(),
            max: Vec::new(),
        };
        for (nth, Want { queue, max }) in want.iter().enumerate() {
            let have = held.iter().filter(|job| job.spec.queue == *queue).count();
            let left = max.saturating_sub(have);
            look.max.push(i32::try_from(left).unwrap_or(i32::MAX));
            for lane in self.lanes.served(queue, serves) {
                look.lanes.push(lane);
                look.of.push(i32::try_from(nth + 1).unwrap_or(i32::MAX));
            }
        }
        look
    }

    fn claim_call(
        &self,
        succeeded: Option<&Succeeded>,
        look: &Look,
        grant: &Grant,
        serves: &Serves,
    ) -> Call {
        let first = match succeeded {
            Some(jobs) => jobs.bind(call(&self.sql.succeed_and_claim), self.clock()),
            None => call(&self.sql.claim_ready).bind(self.clock()),
        };
        let first = first
            .bind(look.lanes.clone())
            .bind(look.of.clone())
            .bind(look.max.clone())
            .bind(serves.suspect)
            .bind(self.floors.of(&look.lanes));
        held_as(first, grant)
    }

    /// Claims of nothing, after no success and after that of no job.
    pub(super) fn no_claims(&self) -> [Call; 2] {
        let look = Look {
            lanes: vec![-1],
            of: vec![1],
            max: vec![1],
        };
        let grant = Grant {
            token: Token::from_bytes([0; 16]),
            owner: Owner::from_bytes([0; 16]),
            lease: Duration::ZERO,
            repeat: false,
        };
        let serves = Serves::default();
        let none = Succeeded::of(&[]);
        [None, Some(&none)].map(|succeeded| self.claim_call(succeeded, &look, &grant, &serves))
    }

    async fn claimed(&self, row: &PgRow, token: Token) -> Result<ClaimedJob> {
        let lane = self.lane(row.try_get("lane").map_err(translate)?).await?;
        rows::claimed(row, &lane, token).map_err(translate)
    }

    /// What a token holds, in the order of claims.
    async fn held_by(&self, token: Token) -> Result<Vec<ClaimedJob>> {
        let held = call(&self.sql.held_by).bind(Uuid::from_bytes(*token.as_bytes()));
        let mut jobs = Vec::new();
        for row in self.rows(held).await? {
            jobs.push(self.claimed(&row, token).await?);
        }
        Ok(jobs)
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
        for _ in 0..TRIES {
            let mut open: Vec<JobId> = ids.to_vec();
            open.retain(|id| !answers.contains_key(id));
            let (now, mut stored) = self.load(&open).await?;
            if serves.suspect && stored.values().any(|stored| stored.job.is_suspect()) {
                serves.suspect = !self.holds_suspect(grant.token).await?;
            }
            let mut entries = Vec::new();
            for id in open {
                match stored.get_mut(&id) {
                    None => _ = answers.insert(id, Claim::Missing),
                    Some(_) if entries.contains(&id) || answers.contains_key(&id) => {}
                    Some(stored) => match decide(stored, grant, &mut serves, now) {
                        Some(answer) => _ = answers.insert(id, answer),
                        None => entries.push(id),
                    },
                }
            }
            let taken = self.take(&entries, &stored, grant, now).await?;
            // Who was Ready and is not among those taken has changed meanwhile: look again.
            let all = taken.len() == entries.len();
            let taken = taken.into_iter();
            answers.extend(taken.map(|(id, job)| (id, Claim::Claimed(job))));
            if all {
                break;
            }
        }
        let answer = |id| answers.get(id).cloned().unwrap_or(Claim::Busy);
        Ok(ids.iter().map(answer).collect())
    }

    /// Takes entries out of `ready` and into a grant.
    async fn take(
        &self,
        entries: &[JobId],
        stored: &HashMap<JobId, Stored>,
        grant: &Grant,
        now: Timestamp,
    ) -> Result<HashMap<JobId, ClaimedJob>> {
        let mut taken = HashMap::new();
        if entries.is_empty() {
            return Ok(taken);
        }
        let mut entries: Vec<&Stored> = entries.iter().map(|id| &stored[id]).collect();
        entries.sort_by_key(|entry| entry.job.id);
        let column =
            |value: fn(&Stored) -> i64| entries.iter().map(|e| value(e)).collect::<Vec<_>>();
        let ranks = column(|entry| entry.job.spec.priority.rank().into());
        let take = call(&self.sql.claim_entries)
            .bind(now.as_millis())
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
            let job = self.claimed(&row, grant.token).await?;
            taken.insert(job.id, job);
        }
        Ok(taken)
    }

    async fn holds_suspect(&self, token: Token) -> Result<bool> {
        let ask = call(&self.sql.holds_suspect).bind(Uuid::from_bytes(*token.as_bytes()));
        self.row(ask).await?.try_get("holds").map_err(translate)
    }
}

/// Whether fewer were claimed than are wanted.
fn lacks(want: &[Want], jobs: &[ClaimedJob]) -> bool {
    want.iter().any(|Want { queue, max }| {
        let have = jobs.iter().filter(|job| job.spec.queue == *queue);
        have.count() < *max
    })
}

/// Where a job stands among those that were claimed with it.
fn in_line(want: &[Want], job: &ClaimedJob) -> (Option<usize>, u8, Timestamp, JobId) {
    let nth = want.iter().position(|want| want.queue == job.spec.queue);
    (nth, job.spec.priority.rank(), job.due_at, job.id)
}

/// What a claim of this job is answered, or `None` if its entry is to be taken.
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

/// The first row of a claim's answer.
struct Head {
    now: Timestamp,
    next: Option<Timestamp>,
    lanes: usize,
    /// How many entries were walked over.
    walked: u64,
    done: Vec<JobId>,
    picture: Option<Picture>,
}

impl Head {
    fn read(row: &PgRow) -> sqlx::Result<Self> {
        let lanes: i32 = row.try_get("lane")?;
        let next: Option<i64> = row.try_get("due_at")?;
        let done: Option<Vec<Uuid>> = row.try_get("done")?;
        let walked: i64 = row.try_get("since")?;
        let picture = match row.try_get("past")? {
            None => None,
            Some(open) => Picture::new(row.try_get("fence")?, row.try_get("deadline_at")?, open),
        };
        Ok(Self {
            now: Timestamp::from_millis(row.try_get("created_at")?),
            next: next.map(Timestamp::from_millis),
            lanes: usize::try_from(lanes).unwrap_or(0),
            walked: u64::try_from(walked).unwrap_or(0),
            done: done
                .unwrap_or_default()
                .into_iter()
                .map(JobId::from)
                .collect(),
            picture,
        })
    }
}
