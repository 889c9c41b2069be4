//! T9, T10 and the operator's half of T12.

use super::Documents;
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
            let Some((mut job, version)) = self.read_jobs(&[id]).await?.pop().flatten() else {
                return Ok(Operated::Missing);
            };
            if matches!(operation, Operation::Requeue(_))
                && job.state().is_terminal()
                && let Some(key) = &job.spec.unique_key
                && let Some(holder) = self.take_key(key, id, now).await?
            {
                return Ok(Operated::KeyTaken(holder));
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
