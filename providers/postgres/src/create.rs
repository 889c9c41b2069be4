//! T1 (create): storing new jobs.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use sqlx::{Row, postgres::PgRow};
use uuid::Uuid;

use bgjob_core::{
    Error, ErrorKind, JobId, Result,
    job::{
        Due, NewJob,
        transition::{self, SweepPolicy},
    },
    store::Created,
    toolkit::columns::{extra, nanos},
};

use super::{
    CAPABILITIES,
    change::TRIES,
    db::{Call, Db, call, ids, uuids},
    error::{is_stale, is_taken, translate},
    lanes::{Number, distinct},
};

/// From this many jobs on, two connections share a batch: while the server stores the one half, the
/// other is prepared, and a server with more than one core stores both at once.
const SHARED: usize = 256;

impl Db {
    pub(super) async fn create(&self, jobs: &[NewJob]) -> Result<Vec<Created>> {
        // Among jobs with the same key, the first one wins, so their order counts.
        if jobs.len() < SHARED || jobs.iter().any(|job| job.spec.unique_key.is_some()) {
            return self.create_batch(jobs).await;
        }
        let (head, tail) = jobs.split_at(jobs.len() / 2);
        let (head, tail) = tokio::join!(self.create_batch(head), self.create_batch(tail));
        let mut answers = head?;
        answers.append(&mut tail?);
        Ok(answers)
    }

    async fn create_batch(&self, jobs: &[NewJob]) -> Result<Vec<Created>> {
        let mut answers: Vec<Option<Created>> = jobs.iter().map(too_large).collect();
        // An id or a key may become free while `explain` looks up its holder.
        for _ in 0..8 {
            let open: Vec<usize> = (0..jobs.len()).filter(|n| answers[*n].is_none()).collect();
            if open.is_empty() {
                break;
            }
            self.insert(jobs, &open, &mut answers).await?;
            let left: Vec<usize> = open.into_iter().filter(|n| answers[*n].is_none()).collect();
            if !left.is_empty() {
                self.explain(jobs, &left, &mut answers).await?;
            }
        }
        let answers: Option<Vec<_>> = answers.into_iter().collect();
        answers.ok_or_else(|| {
            Error::new(
                ErrorKind::Unavailable,
                "others took and freed the same id or unique key again and again",
            )
        })
    }

    /// Stores the jobs that nothing prevents.
    async fn insert(
        &self,
        jobs: &[NewJob],
        open: &[usize],
        answers: &mut [Option<Created>],
    ) -> Result<()> {
        let batch: Vec<&NewJob> = open.iter().map(|n| &jobs[*n]).collect();
        let row = self.store(&batch).await?;
        let mut stored: HashSet<JobId> = ids(&row)?.into_iter().collect();
        for n in open {
            if stored.remove(&jobs[*n].id) {
                answers[*n] = Some(Created::Created);
            }
        }
        Ok(())
    }

    /// Stores jobs under the current numbers of their lanes.
    async fn store(&self, jobs: &[&NewJob]) -> Result<PgRow> {
        let mut tries = 1..TRIES;
        loop {
            let lanes = self.intern(jobs.iter().map(|job| &job.spec)).await?;
            match self.store_in(jobs, lanes).await {
                Err(error) if is_stale(&error) && tries.next().is_some() => self.forget_numbers(),
                stored => return stored,
            }
        }
    }

    /// Stores a batch without unique keys on the assumption that no id is taken, which is true of
    /// nearly all batches. If one is taken, nothing is stored. Then, as with unique keys, each job
    /// is stored by itself.
    async fn store_in(&self, jobs: &[&NewJob], lanes: Vec<Number>) -> Result<PgRow> {
        if jobs.iter().all(|job| job.spec.unique_key.is_none()) {
            let fresh = self.creation(jobs, &lanes, true);
            match self.row(fresh).await {
                Err(error) if is_taken(&error) => {}
                stored => return stored,
            }
        }
        self.row(self.creation(jobs, &lanes, false)).await
    }

    /// The statement that stores jobs.
    pub(super) fn creation(&self, jobs: &[&NewJob], lanes: &[Number], fresh: bool) -> Call {
        let (kinds, stamps) = distinct(lanes.iter().copied());
        let ranks: Vec<i16> = each(jobs, |job| job.spec.priority.rank().into());
        let dues: Vec<i64> = each(jobs, due);
        let from_now: Vec<bool> = each(jobs, |job| !matches!(job.due, Due::At(_)));
        let retains: Vec<i64> = each(jobs, |job| nanos(job.spec.retain));
        let attempts: Vec<i32> = each(jobs, |job| int(job.spec.max_attempts));
        let crashes: Vec<i32> = each(jobs, |job| int(job.spec.max_crashes));
        let metadata: Vec<String> = each(jobs, |job| job.spec.metadata.as_str().to_owned());
        call(&self.sql.create)
            .bind(self.clock())
            .bind(uuids(jobs.iter().map(|job| &job.id)))
            .bind(lanes.iter().map(|lane| lane.id).collect::<Vec<_>>())
            .bind(ranks)
            .bind(dues)
            .bind(from_now)
            .bind(retains)
            .bind(attempts)
            .bind(crashes)
            .bind(some(jobs, |job| job.spec.expires.map(nanos)))
            .bind(some(jobs, |job| job.spec.deadline.map(nanos)))
            .bind(some(jobs, |job| {
                job.spec
                    .unique_key
                    .as_ref()
                    .map(|key| key.as_bytes().to_vec())
            }))
            .bind(some(jobs, |job| extra(&job.spec)))
            .bind(metadata)
            .bind(millis(SweepPolicy::TOUCH))
            .bind(fresh)
            .bind(kinds)
            .bind(stamps)
    }

    /// Says why these jobs could not be stored, if the reason still holds.
    async fn explain(
        &self,
        jobs: &[NewJob],
        left: &[usize],
        answers: &mut [Option<Created>],
    ) -> Result<()> {
        let asked: Vec<JobId> = left.iter().map(|n| jobs[*n].id).collect();
        let there = self.load_all(&asked).await?;
        let unreadable: HashSet<_> = there.unreadable.iter().map(|(id, _)| *id).collect();
        let remembered = self.remembered(&asked).await?;
        let holders = self.key_holders(left.iter().map(|n| &jobs[*n])).await?;
        let live: Vec<JobId> = holders.values().copied().collect();
        let live = self.load_all(&live).await?;
        for n in left {
            let job = &jobs[*n];
            let key = job
                .spec
                .unique_key
                .as_deref()
                .unwrap_or_default()
                .as_bytes();
            answers[*n] = match there.jobs.get(&job.id) {
                // The stored job can't be read, and so not be compared.
                None if unreadable.contains(&job.id) => Some(Created::IdTaken("unreadable".into())),
                Some(stored) if transition::is_repeat(&stored.job, job) => Some(Created::Exists),
                Some(stored) => Some(Created::IdTaken(Arc::clone(&stored.job.spec.name))),
                // The stored job is gone, so the id alone has to prove the repeat.
                None if remembered.contains(&job.id) => Some(Created::Exists),
                // The job holds its key itself if it was stored after it was looked up.
                None => holders
                    .get(key)
                    .filter(|holder| **holder != job.id)
                    .and_then(|holder| live.holder(*holder))
                    .map(Created::KeyTaken),
            };
        }
        Ok(())
    }

    async fn remembered(&self, asked: &[JobId]) -> Result<HashSet<JobId>> {
        let ask = call(&self.sql.remembered)
            .bind(self.clock())
            .bind(uuids(asked));
        let rows = self.rows(ask).await?;
        let ids = rows.iter().map(super::rows::id).collect::<Result<_, _>>();
        ids.map_err(translate)
    }

    /// The live jobs that have these jobs' unique keys.
    pub(super) async fn key_holders(
        &self,
        jobs: impl Iterator<Item = &NewJob>,
    ) -> Result<HashMap<Vec<u8>, JobId>> {
        let keys = jobs.filter_map(|job| job.spec.unique_key.clone());
        let keys: Vec<Vec<u8>> = keys.map(String::into_bytes).collect();
        self.holders(keys).await
    }

    /// The live jobs that have these unique keys.
    pub(super) async fn holders(&self, keys: Vec<Vec<u8>>) -> Result<HashMap<Vec<u8>, JobId>> {
        if keys.is_empty() {
            return Ok(HashMap::new());
        }
        let rows = self.rows(call(&self.sql.key_holders).bind(keys)).await?;
        let holders = rows.iter().map(|row| {
            let id = JobId::from(row.try_get::<Uuid, _>("id")?);
            Ok((row.try_get("unique_key")?, id))
        });
        holders.collect::<sqlx::Result<_>>().map_err(translate)
    }
}

/// The delay in milliseconds, or the time.
pub(super) fn due(job: &NewJob) -> i64 {
    match job.due {
        Due::Now => 0,
        Due::After(delay) => millis(delay),
        Due::At(time) => time.as_millis(),
    }
}

fn too_large(job: &NewJob) -> Option<Created> {
    let (size, max) = (job.spec.metadata.len(), CAPABILITIES.max_document);
    (size > max).then(|| {
        Created::Rejected(format!(
            "metadata is {size} bytes, more than the {max} a job can have"
        ))
    })
}

fn each<T>(jobs: &[&NewJob], value: impl Fn(&NewJob) -> T) -> Vec<T> {
    jobs.iter().map(|job| value(job)).collect()
}

/// A column that few jobs use. `None`: no job of the batch does, and nothing is sent.
fn some<T>(jobs: &[&NewJob], value: impl Fn(&NewJob) -> Option<T>) -> Option<Vec<Option<T>>> {
    let values = each(jobs, value);
    values.iter().any(Option::is_some).then_some(values)
}

pub(super) fn int(count: u32) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

/// In milliseconds, rounded up so that nothing is ever early.
pub(super) fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_nanos().div_ceil(1_000_000)).unwrap_or(i64::MAX >> 1)
}
