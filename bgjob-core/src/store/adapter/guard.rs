//! Unique keys: at most one live job has one (S9), although no store here can write two documents
//! in one step.
//!
//! A document beside the jobs, the *guard* of a key, names the job that last got the key. A caller
//! that brings a job to life (creates or requeues it) takes these steps, and starts over where a
//! version is no longer the one that was read:
//!
//! 1. read the job's own document; where there is none, put a void one there and read that;
//! 2. *take the guard*: write the job's name into it;
//! 3. write the job, if its document is still the one that was read in step 1.
//!
//! A caller that takes a guard that names another job *displaces* that job first. If that job
//! lives, the key is taken. If not, its document is rewritten as it is, so that a step 3 under way
//! for it fails. A job without a document has no step 3 under way: step 3 has a version to replace,
//! and no document has the same version twice.
//!
//! So nobody else can have taken the guard between step 2 and step 3 of one job, and a caller that
//! takes it afterwards finds a live job. A guard is taken anew even if it already names the job
//! (from an earlier try), because somebody may be displacing the job at this moment.

use std::time::Duration;

use uuid::Uuid;

use super::{Documents, body::Body};
use crate::{
    Job, JobId, Result, Timestamp,
    store::{DocumentStore, Holder, Version},
};

/// Namespace of the guards' ids, so that no job's own key leads to a guard. It must never change.
const GUARDS: Uuid = Uuid::from_u128(0x8c0e_2b57_91d3_4a6b_b1f4_6267_6a6f_6202);

/// How often a guard is checked for whether its job still lives.
const LOOK_EVERY: Duration = Duration::from_secs(3600);

/// The result of displacing a job.
#[derive(Debug, PartialEq, Eq)]
enum Displaced {
    Lives(Holder),
    Done,
    /// Its document changed meanwhile: look again.
    Changed,
}

/// The result of trying to take a guard.
#[derive(Debug)]
pub(super) enum Taken {
    Ours,
    /// This live job has the key.
    By(Holder),
    /// The guard with this id can't be read.
    Unreadable(JobId),
}

impl<D: DocumentStore> Documents<D> {
    /// Takes the guard of a key for a job.
    pub(super) async fn take_key(&self, key: &str, job: JobId, now: Timestamp) -> Result<Taken> {
        let id = guard_of(key);
        let look_at = now + LOOK_EVERY;
        let guard = Body::Key { job, look_at };
        for round in 0..Self::ROUNDS {
            Self::give_way(round).await;
            let taken = match self.document(id).await? {
                None => {
                    self.insert_one(guard.write(id, Version::default())?)
                        .await?
                }
                Some(document) => {
                    let Some(body) = Body::read(&document) else {
                        return Ok(Taken::Unreadable(id));
                    };
                    if let Body::Key { job: holder, .. } = body
                        && holder != job
                    {
                        match self.displace(holder, id).await? {
                            Displaced::Lives(holder) => return Ok(Taken::By(holder)),
                            Displaced::Done => {}
                            Displaced::Changed => continue,
                        }
                    }
                    self.replace_one(guard.write(id, document.version)?).await?
                }
            };
            if taken {
                return Ok(Taken::Ours);
            }
        }
        Err(self.contended())
    }

    /// Makes sure that a job that is not live can come to life only by taking the guard anew.
    async fn displace(&self, job: JobId, guard: JobId) -> Result<Displaced> {
        let Some(document) = self.document(job).await? else {
            return Ok(Displaced::Done);
        };
        let has_it = |job: &Job| {
            !job.state().is_terminal()
                && job.spec.unique_key.as_deref().map(guard_of) == Some(guard)
        };
        match Body::read(&document) {
            Some(Body::Job(job)) if has_it(&job) => return Ok(Displaced::Lives(Holder::of(&job))),
            Some(_) => {}
            // It may be live, and two live jobs with one key would be worse than none.
            None => {
                return Ok(Displaced::Lives(Holder {
                    id: job,
                    name: None,
                }));
            }
        }
        let done = self.replace_one(document).await?;
        Ok(if done {
            Displaced::Done
        } else {
            Displaced::Changed
        })
    }

    /// Deletes a guard whose job is no longer live.
    pub(super) async fn look_at_guard(&self, id: JobId, now: Timestamp) -> Result<()> {
        let Some(document) = self.document(id).await? else {
            return Ok(());
        };
        let Some(Body::Key { job, look_at }) = Body::read(&document) else {
            return Ok(());
        };
        if look_at > now {
            return Ok(());
        }
        if self.displace(job, id).await? == Displaced::Done {
            // A conflict means that another caller took the guard and needs it.
            self.store.delete(&[(id, document.version)]).await?;
        } else {
            let look_at = now + LOOK_EVERY;
            self.replace_one(Body::Key { job, look_at }.write(id, document.version)?)
                .await?;
        }
        Ok(())
    }
}

/// The id of a key's guard.
fn guard_of(key: &str) -> JobId {
    Uuid::new_v5(&GUARDS, key.as_bytes()).into()
}
