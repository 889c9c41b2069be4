//! Looking at jobs without changing them.

use sqlx::{Row, postgres::PgRow};
use uuid::Uuid;

use bgjob_core::{
    Job, JobId, Result, Timestamp,
    job::{DeadReason, State, limits},
    store::{Filter, Listed, Order, QueueCounts, Slice},
};

use super::{
    db::{Db, call, ids},
    error::translate,
};

/// The number of jobs read at a time where the filter may pass over most of them.
const PAGE: usize = 1000;

impl Db {
    /// The running jobs that were asked to end. Each has a lease of its own.
    pub(super) async fn cancelled(&self) -> Result<Vec<JobId>> {
        let rows = self.rows(call(&self.sql.cancelled)).await?;
        rows.iter()
            .map(|row| crate::rows::id(row).map_err(translate))
            .collect()
    }

    pub(super) async fn get(&self, ids: &[JobId]) -> Result<Vec<Option<Job>>> {
        let mut stored = self.load_all(ids).await?;
        if let Some((id, error)) = stored.unreadable.pop() {
            return Err(error.about(id));
        }
        let job = |id| stored.jobs.get(id).map(|stored| stored.job.clone());
        Ok(ids.iter().map(job).collect())
    }

    /// Lists the jobs that fit the filter, by id. The server checks kind, state and end; the rest
    /// of the filter is checked here.
    pub(super) async fn list(&self, filter: &Filter, slice: &Slice) -> Result<Listed> {
        let mut listed = Listed::default();
        let mut rest = *slice;
        let (mut looked_at, mut bytes) = (0, 0);
        while let Some(ids) = rest.ids().filter(|_| slice.limit > 0) {
            let page = if *filter == Filter::default() {
                slice.limit
            } else {
                PAGE.max(slice.limit)
            };
            let ids = self.page(filter, slice.order, ids, page).await?;
            looked_at += ids.len();
            listed.next = None;
            let (some, mut jobs) = self.load_first(&ids).await?;
            for id in some {
                listed.next = Some(*id);
                // A job that can't be read is not listed, here as elsewhere.
                let job = jobs.remove(id).map(|stored| stored.job);
                bytes += job.as_ref().map_or(0, Job::bytes);
                listed.jobs.extend(job.filter(|job| filter.fits(job)));
                if listed.jobs.len() == slice.limit {
                    return Ok(listed);
                }
            }
            if ids.len() < page && some.len() == ids.len() {
                listed.next = None;
                return Ok(listed);
            }
            if looked_at >= limits::LOOKED_AT || bytes >= limits::BATCH_BYTES / 2 {
                return Ok(listed);
            }
            rest.after = listed.next;
        }
        Ok(listed)
    }

    /// The next ids of jobs that may fit.
    async fn page(
        &self,
        filter: &Filter,
        order: Order,
        (least, greatest): (JobId, JobId),
        limit: usize,
    ) -> Result<Vec<JobId>> {
        let mut state = filter.state;
        if filter.reason.is_some() {
            state = state.or(Some(State::Dead));
        }
        if state.is_some_and(|state| !filter.fits_state(state)) {
            return Ok(Vec::new());
        }
        let names: Vec<&str> = filter.names.iter().map(|name| &**name).collect();
        let millis = |time: Option<Timestamp>| time.map(Timestamp::as_millis);
        let page = call(&self.sql.list)
            .bind(filter.queue.as_deref().map(str::to_owned))
            .bind((!names.is_empty()).then_some(names))
            .bind(state.map(State::as_str))
            .bind(filter.reason.map(DeadReason::as_str))
            .bind(millis(filter.ended.from))
            .bind(millis(filter.ended.until))
            .bind(Uuid::from(least))
            .bind(Uuid::from(greatest))
            .bind(order == Order::Newest)
            .bind(i32::try_from(limit).unwrap_or(i32::MAX));
        ids(&self.row(page).await?)
    }

    pub(super) async fn counts(&self) -> Result<Vec<QueueCounts>> {
        let most = i32::try_from(limits::COUNTED).unwrap_or(i32::MAX);
        let counts = call(&self.sql.counts).bind(self.clock()).bind(most);
        let mut all: Vec<QueueCounts> = Vec::new();
        for row in &self.rows(counts).await? {
            count(row, &mut all).map_err(translate)?;
        }
        Ok(all)
    }

    pub(super) async fn purge(&self, limit: usize) -> Result<usize> {
        let limit = i32::try_from(limit).unwrap_or(i32::MAX);
        let row = self
            .row(call(&self.sql.purge).bind(self.clock()).bind(limit))
            .await?;
        // Errors here don't count, as the purge is done. Lanes that could not be forgotten now are
        // forgotten later, and tallies that could not be folded are counted all the same.
        self.forget_lanes().await.ok();
        self.rows(call(&self.sql.fold_tallies)).await.ok();
        let jobs: i64 = row.try_get("jobs").map_err(translate)?;
        Ok(usize::try_from(jobs).unwrap_or(0))
    }

    /// From time to time, makes the database forget kinds of jobs that are no longer used.
    async fn forget_lanes(&self) -> Result<()> {
        if self.lanes.may_be_purged() {
            self.rows(call(&self.sql.forget_lanes).bind(self.clock()))
                .await?;
        }
        Ok(())
    }

    pub(super) async fn now(&self) -> Result<Timestamp> {
        let row = self.row(call(&self.sql.now).bind(self.clock())).await?;
        row.try_get("now")
            .map(Timestamp::from_millis)
            .map_err(translate)
    }
}

/// Adds a row to the counts. The rows come sorted.
fn count(row: &PgRow, all: &mut Vec<QueueCounts>) -> sqlx::Result<()> {
    let (queue, name): (&str, &str) = (row.try_get("queue")?, row.try_get("name")?);
    if all
        .last()
        .is_none_or(|last| (&*last.queue, &*last.name) != (queue, name))
    {
        all.push(QueueCounts::new(queue, name));
    }
    let counts = all.last_mut().expect("one was just added");
    let jobs = u64::try_from(row.try_get::<i64, _>("jobs")?).unwrap_or(0);
    counts.more |= row.try_get::<bool, _>("more")?;
    match row.try_get::<&str, _>("state")? {
        "due" => {
            counts.due += jobs;
            let time = |column| row.try_get(column).map(Timestamp::from_millis);
            counts.is_due_since(time("due_at")?, time("at")?);
        }
        "again" => counts.backing_off += jobs,
        "later" => counts.delayed += jobs,
        name => {
            let state = State::ALL.into_iter().find(|state| state.as_str() == name);
            if let Some(state) = state {
                counts.add(state, jobs);
            }
        }
    }
    Ok(())
}
