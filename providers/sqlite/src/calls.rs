//! The calls that change jobs, except for claims.

use std::{sync::Arc, time::Duration};

use rusqlite::{CachedStatement, OptionalExtension, Result, params};

use bgjob_core::{
    Job, JobId, Timestamp,
    job::{
        End, Json, NewJob, State,
        transition::{self, Operated, Operation, REMEMBERED, SweepPolicy},
    },
    queue::Hint,
    store::{Created, Ending, Finished, Holder, Renewal, Renewed, Swept},
    toolkit::columns::encode,
};

use super::{
    CAPABILITIES,
    error::blames_row,
    gone::Gone,
    insert::Inserts,
    rows::Found,
    tx::Tx,
    value::{Sql, get},
};

/// The statements of a batch of successes. Looking each up again for each job would cost a tenth of
/// the batch's time.
struct Successes<'a> {
    let_go: CachedStatement<'a>,
    delete: CachedStatement<'a>,
    remember: CachedStatement<'a>,
    /// A statement of its own, not `keep` with RETURNING: SQLite first copies the rows that an
    /// update returns into a temporary table.
    lane: CachedStatement<'a>,
    keep: CachedStatement<'a>,
}

impl Tx<'_> {
    /// T1 (create).
    pub(super) fn create(&mut self, jobs: &[NewJob]) -> Result<Vec<Created>> {
        let mut inserts = Inserts::new(self)?;
        let create = |job| self.create_one(&mut inserts, job);
        let created = jobs.iter().map(create).collect::<Result<_>>()?;
        inserts.flush(self)?;
        Ok(created)
    }

    fn create_one(&mut self, inserts: &mut Inserts<'_>, new: &NewJob) -> Result<Created> {
        if self.gone.holds(self.db, new.id, self.now)? {
            // The stored job is gone, so the id alone has to prove the repeat.
            return Ok(Created::Exists);
        }
        let size = new.spec.metadata.len();
        if size > CAPABILITIES.max_document {
            let max = CAPABILITIES.max_document;
            return Ok(Created::Rejected(format!(
                "metadata is {size} bytes, more than the {max} a job can have"
            )));
        }
        if inserts.insert(self, &transition::create(new, self.now))? {
            return Ok(Created::Created);
        }
        // The job in the way may be one of this batch.
        inserts.flush(self)?;
        match self.load(new.id)? {
            Found::Job(existing) if transition::is_repeat(&existing, new) => {
                return Ok(Created::Exists);
            }
            // A job that can't be read can't be compared, so this is no repeat.
            Found::Unreadable(_) => return Ok(Created::IdTaken("unreadable".into())),
            Found::Job(existing) => {
                return Ok(Created::IdTaken(Arc::clone(&existing.spec.name)));
            }
            Found::Nothing => {}
        }
        let holder = self.key_holder(new.spec.unique_key.as_deref())?;
        let id = holder.expect("only the id and the key of a job can be taken");
        Ok(Created::KeyTaken(match self.load(id)? {
            Found::Job(job) => Holder::of(&job),
            Found::Unreadable(_) | Found::Nothing => Holder { id, name: None },
        }))
    }

    /// The live job with this unique key.
    fn key_holder(&self, key: Option<&str>) -> Result<Option<JobId>> {
        let Some(key) = key else {
            return Ok(None);
        };
        self.db
            .prepare_cached("SELECT id FROM bgjob_jobs WHERE unique_key = ?1 AND ended IS NULL")?
            .query_row([key], |row| get(row, 0))
            .optional()
    }

    /// T4 (succeed), T5 (fail), T6 (release, snooze).
    pub(super) fn finish(&mut self, ends: &[Ending]) -> Result<Vec<Finished>> {
        let mut successes = Successes {
            let_go: self
                .db
                .prepare_cached("DELETE FROM bgjob_held WHERE id = ?1 AND token = ?2")?,
            delete: self
                .db
                .prepare_cached("DELETE FROM bgjob_jobs WHERE id = ?1 AND retain = 0")?,
            remember: Gone::remembers(self.db, self.now)?,
            lane: self
                .db
                .prepare_cached("SELECT lane FROM bgjob_jobs WHERE id = ?1")?,
            keep: self.db.prepare_cached(
                "UPDATE bgjob_jobs SET ended = 'succeeded', fence = fence + 1, ended_at = ?2,
                     purge_at = ?2 + (retain + 999999) / 1000000, result = ?3,
                     expires_at = NULL WHERE id = ?1",
            )?,
        };
        let finish = |ending: &Ending| match &ending.end {
            End::Success(result) => self.succeed(&mut successes, ending, result),
            End::Error { .. } | End::Release | End::Snooze(_) => {
                let end =
                    |job: &mut Job, now| transition::finish(job, ending.token, &ending.end, now);
                let state = self.change(ending.id, end)?;
                Ok(state.map_or(Finished::Lost, Finished::Applied))
            }
        };
        ends.iter().map(finish).collect()
    }

    /// T4 (succeed) in SQL. The common case is a job that is not kept; its row is not read.
    fn succeed(
        &mut self,
        successes: &mut Successes<'_>,
        ending: &Ending,
        result: &Json,
    ) -> Result<Finished> {
        let (id, token) = (Sql(ending.id), Sql(ending.token));
        if successes.let_go.execute((&id, token))? == 0 {
            return Ok(Finished::Lost);
        }
        if successes.delete.execute([&id])? == 1 {
            successes
                .remember
                .execute((id, Sql(self.now + REMEMBERED)))?;
        } else if let Some(lane) = successes
            .lane
            .query_row([&id], |row| row.get(0))
            .optional()?
        {
            let values = (id, Sql(self.now), result.as_str());
            successes.keep.execute(values)?;
            self.news.tally(lane, State::Succeeded, 1);
        }
        self.news.ended.push(ending.id);
        Ok(Finished::Applied(State::Succeeded))
    }

    /// T3 (renew).
    pub(super) fn renew(&mut self, held: &[Renewal], lease: Duration) -> Result<Vec<Renewed>> {
        let lease_until = Sql(self.now + lease);
        let mut answers = Vec::with_capacity(held.len());
        for job in held {
            let id = Sql(job.id);
            let cancel = self
                .db
                .prepare_cached(
                    "UPDATE bgjob_held SET lease_until = max(lease_until, ?3)
                     WHERE id = ?1 AND token = ?2 RETURNING cancel",
                )?
                .query_row((&id, Sql(job.token), &lease_until), |row| row.get(0))
                .optional()?;
            if let (Some(_), Some(progress)) = (cancel, &job.progress) {
                self.db
                    .prepare_cached("UPDATE bgjob_jobs SET progress = ?2 WHERE id = ?1")?
                    .execute((id, encode(&progress.clone().bounded())))?;
            }
            answers.push(cancel.map_or(Renewed::Lost, |cancel| Renewed::Renewed { cancel }));
        }
        Ok(answers)
    }

    /// T7 (revoke), T11 (expire), T8 (touch).
    pub(super) fn sweep(&mut self, limit: usize, policy: &SweepPolicy) -> Result<Vec<Swept>> {
        let mut swept = Vec::new();
        let margin =
            i64::try_from(policy.margin.as_nanos().div_ceil(1_000_000)).unwrap_or(i64::MAX);
        let overdue = self.now.as_millis().saturating_sub(margin);
        let expired = "SELECT id FROM bgjob_held WHERE lease_until < ?1 LIMIT ?2";
        for id in self.ids(expired, overdue, limit)? {
            let revoke = |job: &mut Job, now| {
                transition::revoke(job, policy, now).then(|| Swept::revoked(job))
            };
            swept.extend(self.sweep_one(id, revoke)?);
        }
        let late = "SELECT id FROM bgjob_ready WHERE until <= ?1 ORDER BY until LIMIT ?2";
        for id in self.ids(late, self.now.as_millis(), limit - swept.len())? {
            let expire =
                |job: &mut Job, now| transition::expire(job, now).then(|| Swept::expired(job));
            swept.extend(self.sweep_one(id, expire)?);
        }
        if policy.touch.is_some() {
            self.touch(limit - swept.len(), policy, &mut swept)?;
        }
        let unreadable = self.unreadable.drain(..);
        swept.extend(unreadable.map(|id| Swept::Unreadable { id }));
        Ok(swept)
    }

    /// T8 (touch). The first sweep on behalf of a queue makes the index: a database without a queue
    /// should not pay for the index with each job.
    fn touch(&mut self, limit: usize, policy: &SweepPolicy, swept: &mut Vec<Swept>) -> Result<()> {
        self.db
            .prepare_cached(
                "CREATE INDEX IF NOT EXISTS bgjob_ready_touch ON bgjob_ready(touch_at)",
            )?
            .execute([])?;
        let untouched =
            "SELECT id FROM bgjob_ready WHERE touch_at <= ?1 ORDER BY touch_at LIMIT ?2";
        for id in self.ids(untouched, self.now.as_millis(), limit)? {
            let touch = |job: &mut Job, now| {
                transition::touch(job, policy, now).then(|| Swept::Touched(Hint::at(id, &job.spec)))
            };
            swept.extend(self.sweep_one(id, touch)?);
        }
        Ok(())
    }

    /// As [`change`](Self::change), but a job that can't be read or written back is left unchanged
    /// and does not hold up the others.
    fn sweep_one(
        &mut self,
        id: JobId,
        transition: impl FnOnce(&mut Job, Timestamp) -> Option<Swept>,
    ) -> Result<Option<Swept>> {
        let swept = self.apart(|tx| tx.change(id, transition))?;
        Ok(swept.unwrap_or(Some(Swept::Unreadable { id })))
    }

    /// Applies a transition to a job, if the job is there and the transition returns something.
    fn change<T>(
        &mut self,
        id: JobId,
        transition: impl FnOnce(&mut Job, Timestamp) -> Option<T>,
    ) -> Result<Option<T>> {
        let mut job = match self.load(id)? {
            Found::Job(job) => *job,
            Found::Unreadable(_) => {
                self.unreadable.push(id);
                return Ok(None);
            }
            Found::Nothing => return Ok(None),
        };
        let before = job.clone();
        let answer = transition(&mut job, self.now);
        if answer.is_some() {
            self.save(&before, &job)?;
        }
        Ok(answer)
    }

    /// An operator's transitions: T9 (cancel), T10 (requeue, reschedule, edit), T12 (delete).
    pub(super) fn operate(&mut self, id: JobId, operation: &Operation) -> Result<Operated> {
        let mut job = match self.load(id)? {
            Found::Job(job) => *job,
            Found::Unreadable(error) => return Err(error),
            Found::Nothing => return Ok(Operated::Missing),
        };
        let before = job.clone();
        if matches!(operation, Operation::Requeue(_))
            && job.state().is_terminal()
            && let Some(holder) = self.key_holder(job.spec.unique_key.as_deref())?
        {
            return Ok(Operated::KeyTaken(holder));
        }
        let operated = transition::operate(&mut job, operation, self.now);
        match (operation, operated) {
            (Operation::Delete, Operated::Done(_)) => {
                self.tally(&before, -1)?;
                self.db
                    .prepare_cached("DELETE FROM bgjob_jobs WHERE id = ?1")?
                    .execute([Sql(id)])?;
            }
            (_, Operated::Done(state)) => {
                self.save(&before, &job)?;
                self.news.cancelled |= state == State::Running;
            }
            _ => {}
        }
        Ok(operated)
    }

    /// T12 (purge). If a damaged row stops one step, the other steps go on.
    pub(super) fn purge(&mut self, limit: usize) -> Result<usize> {
        self.apart(|tx| Gone::clear(tx.db, tx.now))?;
        self.apart(|tx| tx.lanes.purge(tx.db, tx.now))?;
        self.delete_purged(limit)
    }

    fn delete_purged(&mut self, limit: usize) -> Result<usize> {
        let mut purge = self.db.prepare_cached(
            "DELETE FROM bgjob_jobs WHERE id IN (
                 SELECT id FROM bgjob_jobs WHERE purge_at <= ?1 ORDER BY purge_at LIMIT ?2)
             RETURNING lane, ended",
        )?;
        let mut rows = purge.query(params![Sql(self.now), limit as i64])?;
        let mut purged = 0;
        while let Some(row) = rows.next()? {
            purged += 1;
            let name = row.get_ref(1)?.as_str()?;
            let state = State::ALL.into_iter().find(|state| state.as_str() == name);
            if let Some(state) = state {
                self.news.tally(row.get(0)?, state, -1);
            }
        }
        Ok(purged)
    }

    /// Does some work, and undoes only that if a row does not allow it. `None`: it was undone.
    fn apart<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T>) -> Result<Option<T>> {
        self.db.prepare_cached("SAVEPOINT bgjob_one")?.execute([])?;
        let done = match work(self) {
            Err(error) if blames_row(&error) => {
                self.db
                    .prepare_cached("ROLLBACK TO bgjob_one")?
                    .execute([])?;
                None
            }
            done => Some(done?),
        };
        self.db.prepare_cached("RELEASE bgjob_one")?.execute([])?;
        Ok(done)
    }

    /// The ids that a query returns for a time and a limit.
    fn ids(&self, query: &str, time: i64, limit: usize) -> Result<Vec<JobId>> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.db
            .prepare_cached(query)?
            .query_map((time, limit), |row| get(row, 0))?
            .collect()
    }
}
