//! T9 (cancel), T10 (requeue, reschedule, edit) and the operator's half of T12 (delete).

use super::{Documents, change::Read, guard::Taken};
use crate::{
    Job, JobId, Result,
    job::{
        State,
        transition::{self, Operated, Operation},
    },
    store::{DocumentStore, Replaced},
};

impl<D: DocumentStore> Documents<D> {
    pub(super) async fn operate_one(&self, id: JobId, operation: &Operation) -> Result<Operated> {
        let now = self.clock();
        for round in 0..Self::ROUNDS {
            Self::give_way(round).await;
            let (mut job, version) = match self.read(&[id]).await?.pop() {
                Some(Read::Job(job, version)) => (*job, version),
                Some(Read::Unreadable) => return Err(self.unreadable(id).about(id)),
                Some(Read::Nothing) | None => return Ok(Operated::Missing),
            };
            if matches!(operation, Operation::Requeue(_))
                && job.state().is_terminal()
                && let Some(key) = &job.spec.unique_key
            {
                match self.take_key(key, id, now).await? {
                    Taken::Ours => {}
                    // This is an answer only if the job was still there when the holder was seen.
                    Taken::By(holder) if self.is_at(id, &version).await? => {
                        return Ok(Operated::KeyTaken(holder.id));
                    }
                    Taken::By(_) => continue,
                    Taken::Unreadable(guard) => return Err(self.unreadable(guard).about(id)),
                }
            }
            let answer = transition::operate(&mut job, operation, now);
            let done = match (operation, answer) {
                (Operation::Delete, Operated::Done(_)) => {
                    self.store.delete(&[(id, version)]).await? == [Replaced::Replaced]
                }
                (_, Operated::Done(_)) => self.write_jobs(vec![(job, version)]).await? == [true],
                _ => true,
            };
            if done {
                if matches!(
                    (operation, answer),
                    (Operation::Cancel, Operated::Done(State::Running))
                ) {
                    self.waits.wake_cancelled();
                }
                return Ok(answer);
            }
        }
        Err(self.contended())
    }
}

impl<D: DocumentStore> Documents<D> {
    /// The same for many: in one batch where plain writes will do, otherwise one by one.
    pub(super) async fn operate_batch(
        &self,
        operations: &[(JobId, Operation)],
    ) -> Result<Vec<Operated>> {
        let now = self.clock();
        if self.is_more_than_a_write(operations).await? {
            let mut operated = Vec::with_capacity(operations.len());
            for (id, operation) in operations {
                operated.push(self.operate_one(*id, operation).await?);
            }
            return Ok(operated);
        }
        let apply = |(_, operation): &(JobId, Operation), job: &mut Job| {
            let answer = transition::operate(job, operation, now);
            (answer, matches!(answer, Operated::Done(_)))
        };
        let answers = self.change(operations, |(id, _)| *id, apply).await?;
        let answers = answers.into_iter();
        Ok(answers
            .map(|one| one.unwrap_or(Operated::Missing))
            .collect())
    }

    /// Whether one of them deletes a job or makes it take its unique key.
    async fn is_more_than_a_write(&self, operations: &[(JobId, Operation)]) -> Result<bool> {
        let mut requeued = Vec::new();
        for (id, operation) in operations {
            match operation {
                Operation::Delete => return Ok(true),
                Operation::Requeue(_) => requeued.push(*id),
                Operation::Cancel | Operation::Reschedule(_) | Operation::Edit { .. } => {}
            }
        }
        let jobs = self.read_jobs(&requeued).await?;
        let mut jobs = jobs.into_iter().flatten();
        Ok(jobs.any(|(job, _)| job.spec.unique_key.is_some()))
    }
}
