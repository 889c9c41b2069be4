//! Looking at jobs without changing them.

use sqlx::{Row, postgres::PgRow};
use uuid::Uuid;

use crate::{
    Job, JobId, Result, Timestamp,
    job::State,
    store::{Filter, QueueCount},
};

use super::{
    db::{Call, Db, call},
    error::translate,
    rows::stored,
};

/// Jobs read at a time where a filter passes over most of them.
const PAGE: usize = 1000;

impl Db {
    pub(super) async fn get(&self, ids: &[JobId]) -> Result<Vec<Option<Job>>> {
        let (_, stored) = self.load(ids).await?;
        let job = |id| stored.get(id).map(|stored| stored.job.clone());
        Ok(ids.iter().map(job).collect())
    }

    /// Jobs that fit the filter, by id. Lane and state are looked for by the server, the rest of
    /// the filter here.
    pub(super) async fn list(
        &self,
        filter: &Filter,
        after: Option<JobId>,
        limit: usize,
    ) -> Result<Vec<Job>> {
        let mut found = Vec::new();
        let lanes = self.lanes_of(filter).await?;
        // Ids start at 0, and 0 itself is one.
        let mut after = after;
        if after.is_none() && limit > 0 {
            let first = JobId::from_bytes([0; 16]);
            let first = self.get(&[first]).await?.remove(0);
            found.extend(first.filter(|job| filter.fits(job)));
        }
        let page = if filter.tag.is_some() {
            PAGE.max(limit)
        } else {
            limit
        };
        while found.len() < limit {
            let cursor = after.unwrap_or(JobId::from_bytes([0; 16]));
            let rows = self
                .rows(self.page(filter, cursor, page, lanes.clone()))
                .await?;
            let full = rows.len() == page;
            for row in rows {
                let job = self.job(&row).await?;
                after = Some(job.id);
                if found.len() < limit && filter.fits(&job) {
                    found.push(job);
                }
            }
            if !full {
                break;
            }
        }
        Ok(found)
    }

    fn page(&self, filter: &Filter, after: JobId, limit: usize, lanes: Option<Vec<i32>>) -> Call {
        let statement = match filter.state {
            None => &self.sql.list,
            Some(State::Ready) => &self.sql.list_ready,
            Some(State::Running) => &self.sql.list_running,
            Some(_) => &self.sql.list_over,
        };
        let page = call(statement)
            .bind(Uuid::from(after))
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .bind(lanes);
        match filter.state {
            Some(state) if state.is_terminal() => page.bind(state.as_str()),
            _ => page,
        }
    }

    /// The lanes that a filter is about, where it is about any.
    async fn lanes_of(&self, filter: &Filter) -> Result<Option<Vec<i32>>> {
        if filter.queue.is_none() && filter.name.is_none() {
            return Ok(None);
        }
        self.refresh_lanes().await?;
        Ok(Some(self.lanes.such(|lane| {
            filter
                .queue
                .as_ref()
                .is_none_or(|queue| *queue == lane.queue)
                && filter.name.as_ref().is_none_or(|name| *name == lane.name)
        })))
    }

    async fn job(&self, row: &PgRow) -> Result<Job> {
        let lane = self.lane(row.try_get("lane").map_err(translate)?).await?;
        let stored = stored(row, &lane).map_err(translate)?;
        Ok(stored.job)
    }

    pub(super) async fn counts(&self) -> Result<Vec<QueueCount>> {
        let rows = self.rows(call(&self.sql.counts)).await?;
        let count = |row: &PgRow| {
            let state: &str = row.try_get("state")?;
            let state = State::ALL.into_iter().find(|known| known.as_str() == state);
            let jobs = u64::try_from(row.try_get::<i64, _>("jobs")?).unwrap_or(0);
            let queue = row.try_get::<&str, _>("queue")?.into();
            Ok(state.map(|state| QueueCount { queue, state, jobs }))
        };
        let counts = rows.iter().map(count).filter_map(sqlx::Result::transpose);
        counts.collect::<sqlx::Result<_>>().map_err(translate)
    }

    pub(super) async fn purge(&self, limit: usize) -> Result<usize> {
        let limit = i32::try_from(limit).unwrap_or(i32::MAX);
        let row = self
            .row(call(&self.sql.purge).bind(self.clock()).bind(limit))
            .await?;
        let jobs: i64 = row.try_get("jobs").map_err(translate)?;
        Ok(usize::try_from(jobs).unwrap_or(0))
    }

    pub(super) async fn now(&self) -> Result<Timestamp> {
        let row = self.row(call(&self.sql.now).bind(self.clock())).await?;
        row.try_get("now")
            .map(Timestamp::from_millis)
            .map_err(translate)
    }
}
