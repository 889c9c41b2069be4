//! One call within the writer's transaction, and the steps that all calls share.

use std::{collections::HashMap, sync::Arc};

use rusqlite::{Connection, Result, params};

use bgjob_core::{
    JobId, Timestamp,
    job::{
        How, Job, Phase, State,
        transition::{self, REMEMBERED},
    },
    toolkit::columns::encode,
};

use super::{
    gone::Gone,
    lanes::Lanes,
    rows::{self, Found},
    value::Sql,
};

/// The changes of a transaction that someone may wait for.
#[derive(Debug, Default)]
pub(super) struct News {
    /// Queues with new work, except for new jobs.
    pub(super) ready: Vec<Arc<str>>,
    /// Jobs that are over. They are noted whether or not anyone waits: a wait that begins after the
    /// note and before the commit must not be missed.
    pub(super) ended: Vec<JobId>,
    /// A running job was asked to end.
    pub(super) cancelled: bool,
    /// By how many the jobs of a lane that are over have become more or fewer.
    pub(super) tallies: HashMap<(i64, State), i64>,
}

impl News {
    /// Notes that this many jobs of a lane have come to an end, or (negative) left it.
    pub(super) fn tally(&mut self, lane: i64, ended: State, jobs: i64) {
        *self.tallies.entry((lane, ended)).or_default() += jobs;
    }

    /// Stores the tallies, before the commit.
    pub(super) fn store_tallies(&self, db: &Connection) -> Result<()> {
        for ((lane, ended), jobs) in self.tallies.iter().filter(|(_, jobs)| **jobs != 0) {
            db.prepare_cached(
                "INSERT INTO bgjob_tallies(lane, ended, jobs) VALUES(?1, ?2, ?3)
                 ON CONFLICT(lane, ended) DO UPDATE SET jobs = jobs + excluded.jobs",
            )?
            .execute(params![lane, ended.as_str(), jobs])?;
        }
        Ok(())
    }
}

/// The writer's connection within a transaction.
pub(super) struct Tx<'a> {
    pub(super) db: &'a Connection,
    pub(super) lanes: &'a mut Lanes,
    pub(super) news: &'a mut News,
    /// The remembered ids. What it caches is valid for one call.
    pub(super) gone: Gone,
    /// Jobs that the call had to change and could not read.
    pub(super) unreadable: Vec<JobId>,
    pub(super) now: Timestamp,
}

impl Tx<'_> {
    /// What is stored under this id.
    pub(super) fn load(&self, id: JobId) -> Result<Found> {
        rows::load(self.db, id)
    }

    /// Replaces `before` by what a transition made of it. Not for a job that was just claimed or
    /// renewed: those transitions have statements of their own.
    pub(super) fn save(&mut self, before: &Job, after: &Job) -> Result<()> {
        self.leave(before)?;
        if transition::vanishes(after) {
            self.news.ended.push(after.id);
            self.vanish(after.id)?;
            return self.tally(before, -1);
        }
        self.update(after)?;
        if !Arc::ptr_eq(&before.spec, &after.spec) {
            let lane = self.lanes.intern(self.db, &after.spec)?;
            self.db
                .prepare_cached("UPDATE bgjob_jobs SET lane = ?2, metadata = ?3 WHERE id = ?1")?
                .execute(params![Sql(after.id), lane, after.spec.metadata.as_str()])?;
        }
        self.enter(after)?;
        // Counted last: a step that fails is rolled back, but a count is not.
        self.tally(before, -1)?;
        self.tally(after, 1)
    }

    /// Adds `jobs` to the count of jobs that are over, if this job is over.
    pub(super) fn tally(&mut self, job: &Job, jobs: i64) -> Result<()> {
        if job.state().is_terminal() {
            let lane = self.lanes.intern(self.db, &job.spec)?;
            self.news.tally(lane, job.state(), jobs);
        }
        Ok(())
    }

    /// Deletes a job that is not kept after its end, and remembers its id.
    fn vanish(&mut self, id: JobId) -> Result<()> {
        self.db
            .prepare_cached("DELETE FROM bgjob_jobs WHERE id = ?1")?
            .execute([Sql(id)])?;
        let until = Sql(self.now + REMEMBERED);
        Gone::remembers(self.db, self.now)?.execute((Sql(id), until))?;
        Ok(())
    }

    /// Writes all columns that transitions change, except for those of the spec.
    fn update(&mut self, job: &Job) -> Result<()> {
        let end = match &job.phase {
            Phase::Ended(end) => Some(end),
            Phase::Ready { .. } | Phase::Running(_) => None,
        };
        let (reason, result) = match end.map(|end| &end.how) {
            Some(How::Dead(reason)) => (Some(reason.as_str()), None),
            Some(How::Succeeded(result)) => (None, Some(result.as_str())),
            Some(How::Cancelled) | None => (None, None),
        };
        let held = u64::from(matches!(job.phase, Phase::Running(_)));
        self.db
            .prepare_cached(
                "UPDATE bgjob_jobs SET due_at = ?2, expires_at = ?3, deadline_at = ?4, ver = ?5,
                     fence = ?6, epoch = ?7, errors = ?8, crashes = ?9, ended = ?10, reason = ?11,
                     ended_at = ?12, purge_at = ?13, progress = ?14, history = ?15, result = ?16
                 WHERE id = ?1",
            )?
            .execute(params![
                Sql(job.id),
                Sql(job.due_at),
                Sql(job.expires_at),
                Sql(job.deadline_at),
                job.ver,
                job.fence - held,
                job.epoch,
                job.errors,
                job.crashes,
                end.map(|_| job.state().as_str()),
                reason,
                Sql(end.map(|end| end.at)),
                Sql(end.map(|end| end.purge_at)),
                job.progress.as_ref().map(encode),
                (!job.history.is_empty()).then(|| encode(&job.history)),
                result,
            ])?;
        Ok(())
    }

    /// Removes a job's entry from the table of its phase.
    pub(super) fn leave(&mut self, job: &Job) -> Result<()> {
        match &job.phase {
            Phase::Ready { .. } => {
                let lane = self.lanes.intern(self.db, &job.spec)?;
                self.db
                    .prepare_cached(
                        "DELETE FROM bgjob_ready WHERE lane = ?1 AND suspect = ?2 AND rank = ?3
                             AND due_at = ?4 AND id = ?5",
                    )?
                    .execute(params![
                        lane,
                        job.crashes > 0,
                        job.spec.priority.rank(),
                        Sql(job.due_at),
                        Sql(job.id)
                    ])?;
            }
            Phase::Running(_) => {
                self.db
                    .prepare_cached("DELETE FROM bgjob_held WHERE id = ?1")?
                    .execute([Sql(job.id)])?;
            }
            Phase::Ended(_) => {}
        }
        Ok(())
    }

    /// Adds a job's entry to the table of its phase.
    pub(super) fn enter(&mut self, job: &Job) -> Result<()> {
        match &job.phase {
            Phase::Ready { .. } => self.enter_ready(job)?,
            Phase::Running(hold) => {
                self.db
                    .prepare_cached(
                        "INSERT INTO bgjob_held(id, token, owner, since, lease_until, cancel)
                         VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
                    )?
                    .execute(params![
                        Sql(job.id),
                        Sql(hold.token),
                        Sql(hold.owner),
                        Sql(hold.since),
                        Sql(hold.lease_until),
                        hold.cancel
                    ])?;
            }
            Phase::Ended(_) => self.news.ended.push(job.id),
        }
        Ok(())
    }
}
