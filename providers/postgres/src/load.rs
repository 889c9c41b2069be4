//! Reading jobs as they are, as many at a time as fit one answer.

use std::collections::HashMap;

use sqlx::Row;

use bgjob_core::{Error, ErrorKind, JobId, Result, Timestamp, job::limits, store::Holder};

use super::{
    db::{Db, call, uuids},
    error::translate,
    rows::{self, Stored},
};

/// The result of reading jobs.
pub(super) struct Loaded {
    /// The server's time.
    pub(super) now: Timestamp,
    pub(super) jobs: HashMap<JobId, Stored>,
    /// Jobs that can't be read, each with an error that says where it is.
    pub(super) unreadable: Vec<(JobId, Error)>,
    /// Jobs that did not fit: ask for them again.
    pub(super) later: Vec<JobId>,
}

impl Loaded {
    fn none() -> Self {
        Self {
            now: Timestamp::MIN,
            jobs: HashMap::new(),
            unreadable: Vec::new(),
            later: Vec::new(),
        }
    }

    /// This job, as the holder of a unique key, if it is still there.
    pub(super) fn holder(&self, id: JobId) -> Option<Holder> {
        let unreadable = || self.unreadable.iter().any(|(other, _)| *other == id);
        match self.jobs.get(&id) {
            Some(stored) => Some(Holder::of(&stored.job)),
            None => unreadable().then_some(Holder { id, name: None }),
        }
    }
}

impl Db {
    /// Reads these jobs, as many as fit one answer.
    pub(super) async fn load(&self, ids: &[JobId]) -> Result<Loaded> {
        let load = call(&self.sql.load)
            .bind(self.clock())
            .bind(uuids(ids))
            .bind(i64::try_from(limits::BATCH_BYTES).unwrap_or(i64::MAX));
        let rows = self.rows(load).await?;
        let mut loaded = Loaded::none();
        let (mut last, mut all) = (None, 0_i64);
        for row in &rows {
            let id = rows::id(row).map_err(translate)?;
            loaded.now = Timestamp::from_millis(row.try_get("now").map_err(translate)?);
            all = row.try_get("rows").map_err(translate)?;
            last = Some(id);
            match rows::stored(row) {
                Ok(stored) => _ = loaded.jobs.insert(id, stored),
                Err(error) => loaded.unreadable.push((id, self.unreadable(id, &error))),
            }
        }
        if usize::try_from(all).is_ok_and(|all: usize| all > rows.len()) {
            let later = ids.iter().filter(|id| Some(**id) > last);
            loaded.later.extend(later);
        }
        Ok(loaded)
    }

    /// Reads as many of the first of these jobs as fit one answer.
    pub(super) async fn load_first<'a>(
        &self,
        ids: &'a [JobId],
    ) -> Result<(&'a [JobId], HashMap<JobId, Stored>)> {
        let mut first = ids;
        loop {
            let loaded = self.load(first).await?;
            if loaded.later.is_empty() {
                return Ok((first, loaded.jobs));
            }
            // The jobs that were read are not the first ones, but about as large.
            let fitting = first.len() - loaded.later.len();
            first = &first[..fitting.max(1)];
        }
    }

    /// Reads all of these jobs, in as many answers as needed.
    pub(super) async fn load_all(&self, ids: &[JobId]) -> Result<Loaded> {
        if ids.is_empty() {
            return Ok(Loaded::none());
        }
        let mut all = self.load(ids).await?;
        while !all.later.is_empty() {
            let more = self.load(&all.later).await?;
            all.jobs.extend(more.jobs);
            all.unreadable.extend(more.unreadable);
            all.later = more.later;
        }
        Ok(all)
    }

    /// The error for an unreadable job: it says where to look.
    fn unreadable(&self, id: JobId, error: &sqlx::Error) -> Error {
        let message = "what is stored there can't be read: mend it, or remove it";
        Error::new(ErrorKind::Internal, message)
            .with("place", format!("{} {id}", self.sql.place))
            .because(error.to_string())
    }
}
