//! The rare transitions: a job is read, changed by the protocol's own function, and written back if
//! it is still as it was read.

use std::{collections::HashMap, sync::Arc};

use serde::Serialize;
use sqlx::Row;
use uuid::Uuid;

use bgjob_core::{
    Error, ErrorKind, Job, JobId, Result, Timestamp,
    job::{
        How, Phase,
        transition::{self, SweepPolicy},
    },
    queue::Hint,
    store::Swept,
    toolkit::columns::{encode, extra, nanos},
};

use super::{
    create::millis,
    db::{Db, call},
    error::translate,
    rows::{self, Past, Place, Stored},
};

/// The changes of a call that someone may wait for.
#[derive(Debug, Default)]
pub(super) struct News {
    /// Queues with new work.
    pub(super) ready: Vec<Arc<str>>,
    /// Jobs that are over.
    pub(super) ended: Vec<JobId>,
    /// Jobs that could not be read.
    pub(super) unreadable: Vec<JobId>,
    /// A running job was asked to end.
    pub(super) cancelled: bool,
}

impl News {
    pub(super) fn note(&mut self, job: &Job) {
        match job.phase {
            Phase::Ready { .. } if !self.ready.contains(&job.spec.queue) => {
                self.ready.push(Arc::clone(&job.spec.queue));
            }
            Phase::Ended(_) => self.ended.push(job.id),
            _ => {}
        }
    }
}

/// The most tries of a change that conflicts with the changes of other callers.
pub(super) const TRIES: usize = 20;

/// A change as the SQL function `save` takes it; see there.
#[derive(Serialize)]
pub(super) struct Change {
    id: JobId,
    rev: i32,
    was: &'static str,
    was_lane: i32,
    was_suspect: bool,
    was_rank: u8,
    was_due_at: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    was_grant: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    was_until: Option<i64>,
    becomes: &'static str,
    lane: i32,
    rank: u8,
    suspect: bool,
    fence: u64,
    created_at: Timestamp,
    due_at: Timestamp,
    retain: i64,
    max_attempts: u32,
    max_crashes: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deadline: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deadline_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unique_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    progress: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    past: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    extra: Option<String>,
    /// Present if it has changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    touch_at: Option<Timestamp>,
    #[serde(flatten)]
    hold: Option<HoldColumns>,
    #[serde(flatten)]
    end: Option<EndColumns>,
    own_id: bool,
}

#[derive(Serialize)]
struct HoldColumns {
    token: Uuid,
    owner: Uuid,
    since: Timestamp,
    lease_until: Timestamp,
    cancel: bool,
}

#[derive(Serialize)]
struct EndColumns {
    ended: &'static str,
    reason: Option<&'static str>,
    ended_at: Timestamp,
    purge_at: Timestamp,
    result: Option<String>,
}

impl Change {
    pub(super) fn new(before: &Stored, after: &Job, lane: i32) -> Self {
        let (was, was_grant, was_until) = match before.place {
            Place::Ready => ("ready", None, None),
            Place::Grant(id) => ("grant", Some(id), None),
            Place::Held => ("held", None, before.lease_until),
            Place::Over => ("over", None, None),
        };
        let spec = &after.spec;
        let held = u64::from(matches!(after.phase, Phase::Running(_)));
        Self {
            id: after.id,
            rev: before.rev,
            was,
            was_lane: before.lane,
            was_suspect: before.suspect,
            was_rank: before.job.spec.priority.rank(),
            was_due_at: before.due_at,
            was_grant,
            was_until,
            becomes: becomes(after),
            lane,
            rank: spec.priority.rank(),
            suspect: after.is_suspect(),
            fence: after.fence - held,
            created_at: after.created_at,
            due_at: after.due_at,
            retain: nanos(spec.retain),
            max_attempts: spec.max_attempts,
            max_crashes: spec.max_crashes,
            expires: spec.expires.map(nanos),
            deadline: spec.deadline.map(nanos),
            expires_at: after.expires_at,
            deadline_at: after.deadline_at,
            unique_key: spec.unique_key.as_deref().map(hex),
            progress: after.progress.as_ref().map(encode),
            past: Past::column(after),
            extra: extra(spec),
            metadata: (!Arc::ptr_eq(&before.job.spec, spec))
                .then(|| spec.metadata.as_str().to_owned()),
            touch_at: match after.phase {
                Phase::Ready { touch_at } => Some(touch_at),
                _ => None,
            },
            hold: hold(after),
            end: end(after),
            own_id: Uuid::from(after.id).get_version_num() != 7,
        }
    }
}

fn becomes(job: &Job) -> &'static str {
    match job.phase {
        Phase::Ready { .. } => "ready",
        Phase::Running(_) => "held",
        Phase::Ended(_) if transition::vanishes(job) => "gone",
        Phase::Ended(_) => "over",
    }
}

fn hold(job: &Job) -> Option<HoldColumns> {
    let Phase::Running(hold) = &job.phase else {
        return None;
    };
    Some(HoldColumns {
        token: Uuid::from_bytes(*hold.token.as_bytes()),
        owner: Uuid::from_bytes(*hold.owner.as_bytes()),
        since: hold.since,
        lease_until: hold.lease_until,
        cancel: hold.cancel,
    })
}

fn end(job: &Job) -> Option<EndColumns> {
    let Phase::Ended(end) = &job.phase else {
        return None;
    };
    Some(EndColumns {
        ended: job.state().as_str(),
        reason: match &end.how {
            How::Dead(reason) => Some(reason.as_str()),
            _ => None,
        },
        ended_at: end.at,
        purge_at: end.purge_at,
        result: match &end.how {
            How::Succeeded(result) => Some(result.as_str().to_owned()),
            _ => None,
        },
    })
}

/// In hexadecimal: keys may hold NUL, which JSON on the server can't.
fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

impl Db {
    /// Applies a transition to these jobs. Returns the transition's answer for each job that was
    /// changed.
    pub(super) async fn change<T>(
        &self,
        ids: &[JobId],
        transition: impl FnMut(&mut Job, Timestamp) -> Option<T>,
        news: &mut News,
    ) -> Result<HashMap<JobId, T>> {
        let (answers, open) = self.change_some(ids, transition, news).await?;
        if open.is_empty() {
            return Ok(answers);
        }
        Err(Error::new(
            ErrorKind::Unavailable,
            "others changed the same jobs again and again",
        ))
    }

    /// As `change`, for a sweep: a job that can't be changed, as its row and its entry disagree, is
    /// left alone and noted as unreadable. The answers for the others are returned all the same.
    async fn change_each<T>(
        &self,
        ids: &[JobId],
        transition: impl FnMut(&mut Job, Timestamp) -> Option<T>,
        news: &mut News,
    ) -> Result<impl Iterator<Item = T>> {
        let (answers, open) = self.change_some(ids, transition, news).await?;
        news.unreadable.extend(open);
        Ok(answers.into_values())
    }

    /// Returns the answers for the jobs that were changed, and the jobs that could not be changed
    /// in [`TRIES`] tries.
    async fn change_some<T>(
        &self,
        ids: &[JobId],
        mut transition: impl FnMut(&mut Job, Timestamp) -> Option<T>,
        news: &mut News,
    ) -> Result<(HashMap<JobId, T>, Vec<JobId>)> {
        let mut answers = HashMap::new();
        let mut open = ids.to_vec();
        let mut tries = 0;
        while tries < TRIES {
            let loaded = self.load(&open).await?;
            let unreadable = loaded.unreadable.into_iter();
            news.unreadable.extend(unreadable.map(|(id, _)| id));
            let mut changed = Vec::new();
            for before in loaded.jobs.into_values() {
                let mut after = before.job.clone();
                if let Some(answer) = transition(&mut after, loaded.now) {
                    changed.push((before, after, answer));
                }
            }
            let pairs: Vec<_> = changed
                .iter()
                .map(|(before, after, _)| (before, after))
                .collect();
            let (saved, refused) = self.save_each(&pairs).await?;
            open = loaded.later;
            let later = open.len();
            for (_, after, answer) in changed {
                if saved.contains(&after.id) {
                    news.note(&after);
                    answers.insert(after.id, answer);
                } else if !refused.contains(&after.id) {
                    open.push(after.id);
                }
            }
            news.unreadable.extend(refused);
            if open.is_empty() {
                break;
            }
            tries += usize::from(open.len() > later);
        }
        Ok((answers, open))
    }

    /// Deletes jobs that are over. Returns those that were still as they had been read.
    pub(super) async fn delete(&self, jobs: &[&Stored]) -> Result<Vec<JobId>> {
        if jobs.is_empty() {
            return Ok(Vec::new());
        }
        let nothing = |before: &&Stored| Change {
            becomes: "nothing",
            ..Change::new(before, &before.job, before.lane)
        };
        let changes: Vec<_> = jobs.iter().map(nothing).collect();
        self.write(&changes, Vec::new()).await
    }

    /// T7 (revoke), T11 (expire), T8 (touch).
    pub(super) async fn sweep(
        &self,
        limit: usize,
        policy: &SweepPolicy,
        news: &mut News,
    ) -> Result<Vec<Swept>> {
        if policy.touch.is_some() {
            self.index_touches().await?;
        }
        let mut found = self.due(limit, policy).await?;
        let full = found.values().map(Vec::len).sum::<usize>() >= limit;
        let mut swept = Vec::new();
        if let Some(ids) = found.get("lease") {
            let revoke = |job: &mut Job, now| {
                transition::revoke(job, policy, now).then(|| Swept::revoked(job))
            };
            swept.extend(self.change_each(ids, revoke, news).await?);
        }
        if let Some(ids) = found.get("late") {
            let expire =
                |job: &mut Job, now| transition::expire(job, now).then(|| Swept::expired(job));
            swept.extend(self.change_each(ids, expire, news).await?);
            if full && policy.touch.is_some() && swept.len() < limit {
                // Jobs that were too late took the places of jobs to hint at: read again.
                found = self.due(limit - swept.len(), policy).await?;
            }
        }
        if let Some(ids) = found.get("touch") {
            let touch = |job: &mut Job, now| {
                transition::touch(job, policy, now).then(|| Hint::at(job.id, &job.spec))
            };
            // The hint notifies; a touch wakes nobody.
            let mut hinted = News::default();
            let touched = self.change_each(ids, touch, &mut hinted).await?;
            swept.extend(touched.map(Swept::Touched));
            news.unreadable.append(&mut hinted.unreadable);
        }
        let unreadable = news.unreadable.drain(..);
        swept.extend(unreadable.map(|id| Swept::Unreadable { id }));
        Ok(swept)
    }

    /// The jobs whose time has come, by the step they need: `lease`, `late` or `touch`.
    async fn due(&self, limit: usize, policy: &SweepPolicy) -> Result<HashMap<String, Vec<JobId>>> {
        let due = call(&self.sql.due)
            .bind(self.clock())
            .bind(millis(policy.margin))
            .bind(i32::try_from(limit).unwrap_or(i32::MAX))
            .bind(policy.touch.is_some());
        let mut found: HashMap<String, Vec<JobId>> = HashMap::new();
        for row in self.rows(due).await? {
            let kind = row.try_get("kind").map_err(translate)?;
            let id = rows::id(&row).map_err(translate)?;
            found.entry(kind).or_default().push(id);
        }
        Ok(found)
    }
}
