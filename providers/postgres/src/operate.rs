//! An operator's transitions, on one job and on many: T9 (cancel), T10 (requeue, reschedule, edit),
//! T12 (delete).

use std::collections::{HashMap, HashSet};

use bgjob_core::{
    Error, ErrorKind, Job, JobId, Result,
    job::{
        Phase, limits,
        transition::{self, Operated, Operation},
    },
};

use super::{
    change::{News, TRIES},
    db::Db,
    error::{blames_row, is_taken},
    rows::Stored,
};

/// An operation and its job.
type Asked = (JobId, Operation);

impl Db {
    pub(super) async fn operate(
        &self,
        id: JobId,
        operation: &Operation,
        news: &mut News,
    ) -> Result<Operated> {
        for _ in 0..TRIES {
            let mut loaded = self.load(&[id]).await?;
            if let Some((_, error)) = loaded.unreadable.pop() {
                return Err(error.about(id));
            }
            let now = loaded.now;
            let Some(before) = loaded.jobs.remove(&id) else {
                return Ok(Operated::Missing);
            };
            let requeued = is_requeued(&before.job, operation);
            if requeued && let Some(holder) = self.holder(&before.job).await? {
                if holder == id {
                    // The job was requeued after it was read.
                    continue;
                }
                return Ok(Operated::KeyTaken(holder));
            }
            let mut after = before.job.clone();
            let operated = transition::operate(&mut after, operation, now);
            let Operated::Done(_) = operated else {
                return Ok(operated);
            };
            let saved = if matches!(operation, Operation::Delete) {
                self.delete(&[&before]).await
            } else {
                self.save(&[(&before, &after)]).await
            };
            match saved {
                Ok(saved) if saved.is_empty() => {}
                Ok(_) => {
                    note(news, &after);
                    return Ok(operated);
                }
                // The key or the id was taken after the job was read.
                Err(error) if requeued && is_taken(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::new(
            ErrorKind::Unavailable,
            "others changed the same job again and again",
        ))
    }

    /// As `operate`, for many jobs, in the order of the input.
    pub(super) async fn operate_many(
        &self,
        asked: &[Asked],
        news: &mut News,
    ) -> Result<Vec<Operated>> {
        let mut all = Vec::with_capacity(asked.len());
        for batch in asked.chunks(limits::BATCH) {
            let mut answers = HashMap::with_capacity(batch.len());
            if are_apart(batch) {
                self.together(batch, &mut answers, news).await?;
            }
            for (id, operation) in batch {
                all.push(match answers.remove(id) {
                    Some(answer) => answer,
                    None => self.operate(*id, operation, news).await?,
                });
            }
        }
        Ok(all)
    }

    /// Does the operations that can be done together, usually all of them.
    async fn together(
        &self,
        batch: &[Asked],
        answers: &mut HashMap<JobId, Operated>,
        news: &mut News,
    ) -> Result<()> {
        for _ in 0..TRIES {
            let open: Vec<_> = batch
                .iter()
                .filter(|(id, _)| !answers.contains_key(id))
                .collect();
            if open.is_empty() || !self.round(&open, answers, news).await? {
                break;
            }
        }
        Ok(())
    }

    /// Reads, changes and writes once. Returns `false` if the operations have to be done one by
    /// one: several concern the same unique key, or the server refuses one of them.
    async fn round(
        &self,
        open: &[&Asked],
        answers: &mut HashMap<JobId, Operated>,
        news: &mut News,
    ) -> Result<bool> {
        let ids: Vec<_> = open.iter().map(|(id, _)| *id).collect();
        let loaded = self.load(&ids).await?;
        let (now, mut stored) = (loaded.now, loaded.jobs);
        // Jobs that did not fit the answer. One that can't be read does not disturb the others and
        // counts as missing.
        let later: HashSet<_> = loaded.later.into_iter().collect();
        let Some(keys) = requeued_keys(open, &stored) else {
            return Ok(false);
        };
        let holders = self.holders(keys).await?;
        let (mut changed, mut deleted) = (Vec::new(), Vec::new());
        for (id, operation) in open {
            let Some(before) = stored.remove(id) else {
                if !later.contains(id) {
                    answers.insert(*id, Operated::Missing);
                }
                continue;
            };
            let key = before.job.spec.unique_key.as_deref().map(str::as_bytes);
            if is_requeued(&before.job, operation)
                && let Some(holder) = key.and_then(|key| holders.get(key))
            {
                // The job holds its key itself if it was requeued after it was read.
                if holder != id {
                    answers.insert(*id, Operated::KeyTaken(*holder));
                }
                continue;
            }
            let mut after = before.job.clone();
            match transition::operate(&mut after, operation, now) {
                answer @ Operated::Done(_) => {
                    let all = match operation {
                        Operation::Delete => &mut deleted,
                        _ => &mut changed,
                    };
                    all.push((before, after, answer));
                }
                answer => _ = answers.insert(*id, answer),
            }
        }
        let pairs: Vec<_> = changed
            .iter()
            .map(|(before, after, _)| (before, after))
            .collect();
        let saved = match self.save(&pairs).await {
            // Do them one by one, so that a job that the server refuses does not hold up the
            // others.
            Err(error) if blames_row(&error) => return Ok(false),
            saved => saved?,
        };
        let all: Vec<_> = deleted.iter().map(|(before, ..)| before).collect();
        let gone = self.delete(&all).await?;
        let done: HashSet<_> = saved.into_iter().chain(gone).collect();
        for (_, after, answer) in changed.into_iter().chain(deleted) {
            if done.contains(&after.id) {
                note(news, &after);
                answers.insert(after.id, answer);
            }
        }
        Ok(true)
    }

    async fn holder(&self, job: &Job) -> Result<Option<JobId>> {
        let key = job.spec.unique_key.clone().map(String::into_bytes);
        let holders = self.holders(key.into_iter().collect()).await?;
        Ok(holders.into_values().next())
    }
}

fn note(news: &mut News, after: &Job) {
    news.note(after);
    // Cancelling is the only operation on a running job.
    news.cancelled |= matches!(after.phase, Phase::Running(_));
}

fn is_requeued(job: &Job, operation: &Operation) -> bool {
    matches!(operation, Operation::Requeue(_)) && job.state().is_terminal()
}

/// Whether each job is named once.
fn are_apart(asked: &[Asked]) -> bool {
    let mut seen = HashSet::with_capacity(asked.len());
    asked.iter().all(|(id, _)| seen.insert(id))
}

/// The unique keys of the jobs that are requeued. `None` if another of these jobs has one of these
/// keys too.
fn requeued_keys(open: &[&Asked], stored: &HashMap<JobId, Stored>) -> Option<Vec<Vec<u8>>> {
    let mut times: HashMap<&str, usize> = HashMap::new();
    for stored in stored.values() {
        if let Some(key) = stored.job.spec.unique_key.as_deref() {
            *times.entry(key).or_default() += 1;
        }
    }
    let jobs = open.iter().filter_map(|(id, operation)| {
        let job = &stored.get(id)?.job;
        is_requeued(job, operation).then_some(job)
    });
    let mut keys = Vec::new();
    for key in jobs.filter_map(|job| job.spec.unique_key.as_deref()) {
        if times.get(key) != Some(&1) {
            return None;
        }
        keys.push(key.as_bytes().to_vec());
    }
    Some(keys)
}
