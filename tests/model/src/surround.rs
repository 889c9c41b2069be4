//! What happens around workers: clients, hints, time, and what befalls the store.

use bgjob_core::{
    JobSpec, Json,
    job::{NewJob, transition},
};

use super::{
    action::Action,
    config::Model,
    judge::{Event, Notes},
    mutant::Mutant,
    projection::{self, NOW},
    world::{Client, Doc, JOBS, Place, Time, World},
};

impl Model {
    /// All that workers, sweepers and operators don't do.
    pub fn surround(&self, world: &mut World, action: Action, notes: &mut Notes) {
        let slot = |j: u8| usize::from(j);
        match action {
            Action::Create(j) => self.create(world, slot(j), false, notes),
            Action::CreateLost(j) => self.create(world, slot(j), true, notes),
            Action::ClientDies(j) => world.jobs[slot(j)].client = Client::Done,
            Action::Push(j) => {
                let slot = &mut world.jobs[slot(j)];
                slot.client = Client::Done;
                slot.hints = (slot.hints + 1).min(self.hints);
            }
            Action::LoseHint(j) => world.jobs[slot(j)].hints -= 1,
            Action::DoubleHint(j) => {
                world.jobs[slot(j)].hints += 1;
                world.left.doubled -= 1;
            }
            Action::DuePasses(j) => world.jobs[slot(j)].doc.due = Time::Passed,
            Action::TouchPasses(j) => world.jobs[slot(j)].doc.touch = Time::Passed,
            Action::ExpiresPasses(j) => world.jobs[slot(j)].doc.expires = Time::Passed,
            Action::DeadlinePasses(j) => world.jobs[slot(j)].doc.deadline = Time::Passed,
            Action::UntilPasses(j) => world.jobs[slot(j)].doc.until = Time::Passed,
            Action::Backup => world.backup = Some(world.jobs.map(|slot| slot.doc)),
            Action::Rollback => {
                world.left.rollbacks -= 1;
                let docs = world.backup.take().expect("a backup was made");
                for (slot, doc) in world.jobs.iter_mut().zip(docs) {
                    slot.doc = doc;
                }
            }
            action => self.maintain(world, action, notes),
        }
    }

    /// A client that has heard nothing says it all anew: maps have no order, types grow, and its
    /// next version may have another name for the function.
    fn said_anew(&self, new: &NewJob) -> NewJob {
        let mut spec = JobSpec::clone(&new.spec);
        spec.metadata = Json::trusted("[\"grown\"]");
        spec.version += 1;
        spec.name = "renamed".into();
        NewJob::new(new.id, spec, new.due).aliases(&["job"])
    }

    fn create(&self, world: &mut World, j: usize, lost: bool, notes: &mut Notes) {
        let new = NewJob::new(projection::id(j), self.specs[0].clone(), self.due);
        let place = world.jobs[j].doc.place;
        let mut stored = true;
        if matches!(place, Place::Absent | Place::Gone) || self.mutant == Mutant::CreateOverwrites {
            stored = self.key_is_free(world, j);
            if stored {
                self.put(world, j, Doc::of(&transition::create(&new, NOW), 0, false));
            } else {
                notes.saw(Event::KeyTaken);
            }
        } else if let Some(job) = self.job(&world.jobs[j].doc, j) {
            assert!(
                transition::is_repeat(&job, &self.said_anew(&new)),
                "the same create, repeated"
            );
            let other = self.said_anew(&new).aliases(&[]);
            assert!(!transition::is_repeat(&job, &other), "another function's");
            notes.saw(Event::CreateRepeated);
        } else {
            notes.saw(Event::CreateRemembered);
        }
        let slot = &mut world.jobs[j];
        if lost {
            world.left.doubts -= 1;
            slot.client = Client::Doubt;
        } else {
            slot.acked = stored;
            let hints = stored && self.hints > 0;
            slot.client = if hints { Client::Created } else { Client::Done };
        }
    }

    /// S9 is a store's own: no other live job may have the key.
    pub fn key_is_free(&self, world: &World, j: usize) -> bool {
        !self.unique || (0..JOBS).all(|k| k == j || !world.jobs[k].doc.place.is_live())
    }
}
