//! Writing changed jobs back, so that a job that the server refuses does not hold up the others.

use std::sync::Arc;

use bgjob_core::{Job, JobId, Result, toolkit::columns::encode};

use super::{
    change::{Change, TRIES},
    db::{Db, call, ids},
    error::{blames_row, is_stale},
    lanes::{Number, distinct},
    rows::Stored,
};

impl Db {
    /// Writes changed jobs back; if the server refuses the batch, each job by itself. Returns the
    /// jobs that were written and those that were refused.
    pub(super) async fn save_each(
        &self,
        changed: &[(&Stored, &Job)],
    ) -> Result<(Vec<JobId>, Vec<JobId>)> {
        match self.save(changed).await {
            Err(error) if blames_row(&error) => {}
            all => return all.map(|saved| (saved, Vec::new())),
        }
        let (mut saved, mut refused) = (Vec::new(), Vec::new());
        for one in changed {
            match self.save(std::slice::from_ref(one)).await {
                Ok(mut one) => saved.append(&mut one),
                Err(error) if blames_row(&error) => refused.push(one.1.id),
                Err(error) => return Err(error),
            }
        }
        Ok((saved, refused))
    }

    /// Writes changed jobs back. Returns those that were still as they had been read.
    pub(super) async fn save(&self, changed: &[(&Stored, &Job)]) -> Result<Vec<JobId>> {
        if changed.is_empty() {
            return Ok(Vec::new());
        }
        let mut tries = 1..TRIES;
        loop {
            match self.try_save(changed).await {
                Err(error) if is_stale(&error) && tries.next().is_some() => self.forget_numbers(),
                saved => return saved,
            }
        }
    }

    async fn try_save(&self, changed: &[(&Stored, &Job)]) -> Result<Vec<JobId>> {
        let mut changes = Vec::with_capacity(changed.len());
        let mut numbers = Vec::new();
        for (before, after) in changed {
            // An edit may have changed the version.
            let lane = if Arc::ptr_eq(&before.job.spec, &after.spec) {
                before.lane
            } else {
                let lanes = self.intern(std::iter::once(&after.spec)).await?;
                numbers.push(lanes[0]);
                lanes[0].id
            };
            changes.push(Change::new(before, after, lane));
        }
        self.write(&changes, numbers).await
    }

    /// Writes changes. Some of them require that these numbers still belong to their lanes.
    pub(super) async fn write(
        &self,
        changes: &[Change],
        numbers: Vec<Number>,
    ) -> Result<Vec<JobId>> {
        let (lanes, stamps) = distinct(numbers);
        let save = call(&self.sql.save)
            .bind(self.clock())
            .bind(encode(&changes))
            .bind(lanes)
            .bind(stamps);
        ids(&self.row(save).await?)
    }
}
