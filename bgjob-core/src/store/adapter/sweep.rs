//! T7 (revoke), T8 (touch), T11 (expire), T12 (purge): what happens to jobs as time passes.

use super::{Documents, body::Body, change::Read, keys};
use crate::{
    Job, JobId, Result, Timestamp,
    job::{
        limits,
        transition::{self, SweepPolicy},
    },
    queue::Hint,
    store::{DocumentStore, Filed, KeyRange, Replaced, Swept},
};

impl<D: DocumentStore> Documents<D> {
    pub(super) async fn sweep_all(&self, limit: usize, policy: &SweepPolicy) -> Result<Vec<Swept>> {
        let now = self.clock();
        let revoke =
            |job: &mut Job| transition::revoke(job, policy, now).then(|| Swept::revoked(job));
        let expire = |job: &mut Job| transition::expire(job, now).then(|| Swept::expired(job));
        let touch = |job: &mut Job| {
            transition::touch(job, policy, now).then(|| {
                Swept::Touched(Hint {
                    id: job.id,
                    queue: job.spec.queue.clone(),
                    priority: job.spec.priority,
                })
            })
        };
        // Kept apart: unreadable jobs come again with each sweep and may be many.
        let (mut swept, mut unreadable) = (Vec::new(), Vec::new());
        self.sweep_kind(keys::LEASE, now, limit, &mut swept, &mut unreadable, revoke)
            .await?;
        self.sweep_kind(
            keys::EXPIRE,
            now,
            limit,
            &mut swept,
            &mut unreadable,
            expire,
        )
        .await?;
        if policy.touch.is_some() {
            self.sweep_kind(keys::TOUCH, now, limit, &mut swept, &mut unreadable, touch)
                .await?;
        }
        unreadable.truncate(limit.saturating_sub(swept.len()));
        swept.extend(unreadable.into_iter().map(|id| Swept::Unreadable { id }));
        Ok(swept)
    }

    /// Applies a transition to the documents filed by a time that has come.
    async fn sweep_kind(
        &self,
        kind: char,
        now: Timestamp,
        limit: usize,
        swept: &mut Vec<Swept>,
        unreadable: &mut Vec<JobId>,
        apply: impl Fn(&mut Job) -> Option<Swept> + Send + Sync,
    ) -> Result<()> {
        let range = keys::until(kind, now);
        let mut after = None;
        while swept.len() < limit {
            let most = (limit - swept.len()).min(limits::BATCH);
            let page = self.store.scan(&range, after.as_ref(), most).await?;
            let ids: Vec<_> = page.iter().map(|(_, id)| *id).collect();
            let change = |_: &JobId, job: &mut Job| {
                let answer = apply(job);
                let changed = answer.is_some();
                (answer, changed)
            };
            let answers = self.change(&ids, |id| *id, change).await?;
            let gone = ids
                .iter()
                .zip(&answers)
                .filter(|(_, answer)| answer.is_none());
            let gone: Vec<_> = gone.map(|(id, _)| *id).collect();
            swept.extend(answers.into_iter().flatten().flatten());
            let read = self.read(&gone).await?.into_iter().zip(gone);
            let damaged = read.filter(|(read, _)| matches!(read, Read::Unreadable));
            unreadable.extend(damaged.map(|(_, id)| id));
            if page.len() < most {
                break;
            }
            after = page.into_iter().last();
        }
        Ok(())
    }

    pub(super) async fn purge_all(&self, limit: usize) -> Result<usize> {
        let now = self.clock();
        let guards = self
            .store
            .scan(&keys::until(keys::LOOK, now), None, limit)
            .await?;
        for (_, id) in guards {
            self.look_at_guard(id, now).await?;
        }
        let range = keys::until(keys::PURGE, now);
        let mut purged = 0;
        let mut after = None;
        while purged < limit {
            let most = (limit - purged).min(limits::BATCH);
            let (jobs, last) = self.purge_page(&range, after.as_ref(), most, now).await?;
            purged += jobs;
            after = last;
            if after.is_none() {
                break;
            }
        }
        Ok(purged)
    }

    /// Purges one page. Returns how many jobs were purged, and where the next page begins.
    async fn purge_page(
        &self,
        range: &KeyRange,
        after: Option<&Filed>,
        most: usize,
        now: Timestamp,
    ) -> Result<(usize, Option<Filed>)> {
        let page = self.store.scan(range, after, most).await?;
        if page.is_empty() {
            return Ok((0, None));
        }
        let mut ids: Vec<_> = page.iter().map(|(_, id)| *id).collect();
        let mut purged = 0;
        // A caller that takes a unique key rewrites the job that had it as it is; that conflict is
        // no reason to keep the job.
        let mut round = 0;
        while !ids.is_empty() && round < Self::ROUNDS {
            Self::give_way(round).await;
            let (before, was) = (ids.len(), purged);
            ids = self.purge_ids(&ids, now, &mut purged).await?;
            // Large documents go in several portions: as long as one makes progress, it does not
            // give up.
            round = if ids.len() < before || purged > was {
                0
            } else {
                round + 1
            };
        }
        let whole = page.len() == most;
        Ok((purged, page.into_iter().last().filter(|_| whole)))
    }

    /// Purges those of these that may be purged. Returns those that another writer changed
    /// meanwhile.
    async fn purge_ids(
        &self,
        ids: &[JobId],
        now: Timestamp,
        purged: &mut usize,
    ) -> Result<Vec<JobId>> {
        let (mut deletes, mut jobs) = (Vec::new(), Vec::new());
        let portion = self.sizes.portion().min(ids.len());
        let (ids, later) = ids.split_at(portion);
        let documents = self.store.get(ids).await?;
        self.sizes.learn(documents.iter().flatten());
        for document in documents.into_iter().flatten() {
            let is_job = match Body::read(&document) {
                Some(Body::Job(job)) if transition::is_purgeable(&job, now) => true,
                Some(Body::Gone { until } | Body::Void { until }) if until <= now => false,
                _ => continue,
            };
            deletes.push((document.id, document.version));
            jobs.push(is_job);
        }
        let deleted = match deletes.as_slice() {
            [] => Vec::new(),
            deletes => self.store.delete(deletes).await?,
        };
        let mut again = later.to_vec();
        for ((answer, is_job), (id, _)) in deleted.iter().zip(jobs).zip(deletes) {
            match answer {
                Replaced::Replaced => *purged += usize::from(is_job),
                Replaced::Conflict => again.push(id),
            }
        }
        Ok(again)
    }
}
