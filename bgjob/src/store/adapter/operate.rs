//! T9, T10 and the operator's half of T12.

use super::{Documents, change::Read, guard::Taken};
use crate::{
    JobId, Result,
    job::transition::{self, Operated, Operation},
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
                    // An answer only if the job was still there when the holder was seen.
                    Taken::By(holder) if self.is_at(id, &version).await? => {
                        return Ok(Operated::KeyTaken(holder));
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
                return Ok(answer);
            }
        }
        Err(self.contended())
    }
}
