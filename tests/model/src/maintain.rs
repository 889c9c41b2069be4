//! What sweepers and operators do.

use bgjob_core::{
    Job,
    job::{Due, transition},
};
use transition::{Operated, Operation};

use super::{
    action::Action,
    config::Model,
    judge::{Event, Notes},
    mutant::{self, Mutant},
    projection::{self, NOW},
    world::{Doc, Place, World},
};

impl Model {
    /// What sweepers and operators do.
    pub fn maintain(&self, world: &mut World, action: Action, notes: &mut Notes) {
        let slot = |j: u8| usize::from(j);
        match action {
            Action::Revoke(j) => {
                let doc = self.revoked(&world.jobs[slot(j)].doc, slot(j), notes);
                self.put(world, slot(j), doc);
            }
            Action::RevokeReads(j) => world.stale_read = Some((j, world.jobs[slot(j)].doc)),
            Action::RevokeWrites => {
                let (j, doc) = world.stale_read.take().expect("it was read");
                let doc = self.revoked(&doc, slot(j), notes);
                self.put(world, slot(j), doc);
            }
            Action::Touch(j) => {
                let touch = |job: &mut Job| transition::touch(job, &self.policy, NOW);
                if self.with(world, slot(j), touch) {
                    world.jobs[slot(j)].hints += 1;
                }
            }
            Action::Expire(j) => {
                self.with(world, slot(j), |job| {
                    let late = transition::expire(job, NOW);
                    notes.saw_end(job);
                    late
                });
            }
            Action::Purge(j) => {
                let doc = world.jobs[slot(j)].doc;
                let job = self.job(&doc, slot(j)).expect("terminal jobs are there");
                if transition::is_purgeable(&job, NOW) {
                    world.jobs[slot(j)].doc = Doc::gone(Place::Gone);
                    notes.saw(Event::Purged);
                }
            }
            Action::ForgetId(j) => world.jobs[slot(j)].doc.place = Place::Gone,
            Action::Cancel(j) => self.operate(world, slot(j), &Operation::Cancel, notes),
            Action::Requeue(j) => {
                self.operate(world, slot(j), &Operation::Requeue(Due::Now), notes)
            }
            Action::Reschedule(j, later) => {
                let due = if later { self.later() } else { Due::Now };
                self.operate(world, slot(j), &Operation::Reschedule(due), notes);
            }
            Action::Edit(j) => {
                let ver = world.jobs[slot(j)].doc.edited.into();
                let (metadata, version) = (projection::edited(), 0);
                let edit = Operation::Edit {
                    metadata,
                    version,
                    ver,
                };
                self.operate(world, slot(j), &edit, notes);
            }
            Action::Delete(j) => self.operate(world, slot(j), &Operation::Delete, notes),
            other => unreachable!("{other:?} is no maintenance"),
        }
    }

    fn revoked(&self, doc: &Doc, j: usize, notes: &mut Notes) -> Doc {
        let mut job = self.job(doc, j).expect("a job to revoke was read");
        let crashes = job.crashes;
        if !transition::revoke(&mut job, &self.policy, NOW) {
            return *doc;
        }
        mutant::after_revoke(self.mutant, &mut job, crashes);
        self.settled(&job, 0, notes)
    }

    fn operate(&self, world: &mut World, j: usize, operation: &Operation, notes: &mut Notes) {
        let requeue = matches!(operation, Operation::Requeue(_));
        if requeue && self.mutant != Mutant::RequeueIgnoresKey && !self.key_is_free(world, j) {
            return notes.saw(Event::KeyTaken);
        }
        let mut job = self
            .job(&world.jobs[j].doc, j)
            .expect("operators act on what is there");
        let nonce = world.jobs[j].doc.nonce;
        let answer = transition::operate(&mut job, operation, NOW);
        assert!(
            matches!(answer, Operated::Done(_)),
            "{operation:?}: {answer:?}"
        );
        world.left.operations -= 1;
        let doc = match operation {
            Operation::Delete => Doc::gone(Place::Gone),
            _ => self.settled(&job, nonce, notes),
        };
        if requeue {
            assert_eq!(job.epoch, 1, "one more than before");
            notes.saw(Event::Requeued);
        }
        self.put(world, j, doc);
    }
}
