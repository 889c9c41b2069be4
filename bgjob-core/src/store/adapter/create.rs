//! T1 (create).

use std::sync::Arc;

use super::{Documents, body::Body, guard::Taken};
use crate::{
    JobId, Result, Timestamp,
    job::{
        NewJob, limits,
        transition::{self, REMEMBERED},
    },
    store::{Created, Document, DocumentStore, Inserted, Replaced, Version},
};

/// What a create finds under its id.
enum Found {
    /// The create is answered.
    Answer(Created),
    /// The id is free. This is the version to replace, `None` where there is no document.
    Free(Option<Version>),
}

impl<D: DocumentStore> Documents<D> {
    pub(super) async fn create_all(&self, jobs: &[NewJob]) -> Result<Vec<Created>> {
        let now = self.clock();
        let mut answers: Vec<Option<Created>> = Vec::with_capacity(jobs.len());
        let (mut inserts, mut inserted) = (Vec::new(), Vec::new());
        for (nth, new) in jobs.iter().enumerate() {
            answers.push(self.refuses(new).map(Created::Rejected));
            if answers[nth].is_none() && new.spec.unique_key.is_none() {
                inserts.push(first(new, now, Version::default())?);
                inserted.push(nth);
            }
        }
        if !inserts.is_empty() {
            for (nth, answer) in inserted.into_iter().zip(self.store.insert(&inserts).await?) {
                if answer == Inserted::Inserted {
                    self.waits.wake_ready(&jobs[nth].spec.queue);
                    answers[nth] = Some(Created::Created);
                }
            }
        }
        let mut all = Vec::with_capacity(jobs.len());
        for (new, answer) in jobs.iter().zip(answers) {
            all.push(match answer {
                Some(answer) => answer,
                None => self.create_looking(new, now).await?,
            });
        }
        Ok(all)
    }

    /// Creates a job whose id may be taken, or that has a unique key.
    async fn create_looking(&self, new: &NewJob, now: Timestamp) -> Result<Created> {
        for round in 0..Self::ROUNDS {
            Self::give_way(round).await;
            let version = match self.find(new, now).await? {
                Found::Answer(answer) => return Ok(answer),
                Found::Free(version) => version,
            };
            if let Some(key) = &new.spec.unique_key {
                let Some(void) = version.clone() else {
                    let until = now + REMEMBERED;
                    let void = Body::Void { until };
                    self.insert_one(void.write(new.id, Version::default())?)
                        .await?;
                    continue;
                };
                match self.take_key(key, new.id, now).await? {
                    Taken::Ours => {}
                    // This is an answer only if the id was still free when the holder was seen.
                    Taken::By(holder) if self.is_at(new.id, &void).await? => {
                        return Ok(Created::KeyTaken(holder));
                    }
                    Taken::By(_) => continue,
                    Taken::Unreadable(guard) => return Ok(self.rejects(guard)),
                }
            }
            if self.put_first(new, now, version).await? {
                self.waits.wake_ready(&new.spec.queue);
                return Ok(Created::Created);
            }
        }
        Err(self.contended())
    }

    async fn find(&self, new: &NewJob, now: Timestamp) -> Result<Found> {
        let Some(document) = self.document(new.id).await? else {
            return Ok(Found::Free(None));
        };
        Ok(match Body::read(&document) {
            Some(body) if body.gives_way(now) => Found::Free(Some(document.version)),
            // The job's content is gone, so a known id counts as proof of a repeat.
            Some(Body::Gone { .. }) => Found::Answer(Created::Exists),
            Some(Body::Job(job)) if transition::is_repeat(&job, new) => {
                Found::Answer(Created::Exists)
            }
            Some(Body::Job(job)) => Found::Answer(Created::IdTaken(Arc::clone(&job.spec.name))),
            Some(_) => Found::Answer(Created::Rejected(
                "the id is that of a unique key's document: choose another".to_owned(),
            )),
            None => Found::Answer(self.rejects(new.id)),
        })
    }

    /// The answer where the document that is needed can't be read.
    fn rejects(&self, id: JobId) -> Created {
        Created::Rejected(self.unreadable(id).to_string())
    }

    async fn put_first(
        &self,
        new: &NewJob,
        now: Timestamp,
        version: Option<Version>,
    ) -> Result<bool> {
        Ok(match version {
            None => {
                self.insert_one(first(new, now, Version::default())?)
                    .await?
            }
            Some(version) => self.replace_one(first(new, now, version)?).await?,
        })
    }

    /// Why this job can never be stored here.
    fn refuses(&self, new: &NewJob) -> Option<String> {
        let size = new.spec.metadata.len();
        let max = self.store.capabilities().max_metadata;
        if size > max {
            return Some(format!(
                "metadata is {size} bytes, more than the {max} a job can have"
            ));
        }
        // A job that breaks a limit could not be read back.
        let valid = new.spec.validate(limits::METADATA_HARD);
        valid.err().map(|error| error.to_string())
    }

    pub(super) async fn document(&self, id: JobId) -> Result<Option<Document>> {
        Ok(self.store.get(&[id]).await?.pop().flatten())
    }

    /// Whether a document still has this version.
    pub(super) async fn is_at(&self, id: JobId, version: &Version) -> Result<bool> {
        let document = self.document(id).await?;
        Ok(document.is_some_and(|document| document.version == *version))
    }

    pub(super) async fn insert_one(&self, document: Document) -> Result<bool> {
        Ok(self.store.insert(&[document]).await? == [Inserted::Inserted])
    }

    pub(super) async fn replace_one(&self, document: Document) -> Result<bool> {
        Ok(self.store.replace(&[document]).await? == [Replaced::Replaced])
    }
}

/// The first document of a job.
fn first(new: &NewJob, now: Timestamp, version: Version) -> Result<Document> {
    Body::of(transition::create(new, now)).write(new.id, version)
}
