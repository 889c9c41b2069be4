//! What an action does: always by way of the real transitions, unless a mutant bends them.

use bgjob::{
    Job,
    job::{DeadReason, Due, Ended, Hold, How, NewJob, Phase, State, Token, transition},
};
use transition::{Operated, Operation};

use super::{
    Event, Model, Mutant, Notes,
    action::Action,
    mutant,
    world::{self, Act, Client, Doc, Hand, JOBS, Late, Life, NOW, Outcome, Place, Time, World},
};

/// A number no grant has in a canonical world.
const FRESH: u8 = 15;

impl Model {
    /// The world after an action; `None` if nothing came of it.
    pub fn step(&self, before: &World, action: Action, notes: &mut Notes) -> Option<World> {
        let mut world = *before;
        self.act(&mut world, action, notes);
        if world == *before {
            return None;
        }
        self.judge(before, action, &mut world, notes);
        Some(world.canonical())
    }

    fn act(&self, world: &mut World, action: Action, notes: &mut Notes) {
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
            Action::Deliver(w, j) => {
                world.jobs[slot(j)].hints -= 1;
                world.workers[slot(w)].hands[slot(j)].act = Act::Hint;
            }
            Action::Claim(w, j) | Action::Scan(w, j) => {
                self.claim_by(world, w, &[j], false, notes);
            }
            Action::ClaimLost(w, j) => self.claim_by(world, w, &[j], true, notes),
            Action::ScanAll(w) => self.claim_by(world, w, &[0, 1], false, notes),
            Action::ScanAllLost(w) => self.claim_by(world, w, &[0, 1], true, notes),
            Action::Renew(w, j) => self.renew(world, slot(w), slot(j), notes),
            Action::Ends(w, j, end) => {
                if matches!(end, Outcome::Release | Outcome::Snooze) {
                    world.left.frees -= 1;
                }
                world.workers[slot(w)].hands[slot(j)].act = Act::Ending(end);
            }
            Action::Finish(w, j) => {
                let hand = std::mem::take(&mut world.workers[slot(w)].hands[slot(j)]);
                self.finish(world, slot(j), hand, notes);
            }
            Action::FinishLost(w, j) => {
                world.left.doubts -= 1;
                let hand = world.workers[slot(w)].hands[slot(j)];
                self.finish(world, slot(j), hand, notes);
            }
            Action::Crash(w) => {
                world.left.crashes -= 1;
                let worker = &mut world.workers[slot(w)];
                (worker.life, worker.hands) = (Life::Down, Default::default());
            }
            Action::Restart(w) => world.workers[slot(w)].life = Life::Up,
            Action::CopyMessage(w, j) => {
                world.left.late -= 1;
                let hand = world.workers[slot(w)].hands[slot(j)];
                world.late = match hand.act {
                    Act::Ending(end) => Late::Finish(j, hand, end),
                    _ => Late::Claim(j, hand),
                };
            }
            Action::LateMessage => match std::mem::take(&mut world.late) {
                Late::None => {}
                Late::Claim(j, hand) => {
                    if self.claim(world, slot(j), hand, true, notes) {
                        notes.saw(Event::LateClaim);
                    }
                }
                Late::Finish(j, hand, _) => self.finish(world, slot(j), hand, notes),
            },
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

    /// What sweepers and operators do.
    fn maintain(&self, world: &mut World, action: Action, notes: &mut Notes) {
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
                if self.with(world, slot(j), |job| transition::touch(job, &self.policy, NOW)) {
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
                    world.jobs[slot(j)].doc = Doc { place: Place::Gone, ..Doc::default() };
                    notes.saw(Event::Purged);
                }
            }
            Action::ForgetId(j) => world.jobs[slot(j)].doc.place = Place::Gone,
            Action::Cancel(j) => self.operate(world, slot(j), &Operation::Cancel, notes),
            Action::Requeue(j) => self.operate(world, slot(j), &Operation::Requeue(Due::Now), notes),
            Action::Reschedule(j, later) => {
                let due = if later { self.later() } else { Due::Now };
                self.operate(world, slot(j), &Operation::Reschedule(due), notes);
            }
            Action::Edit(j) => {
                let ver = world.jobs[slot(j)].doc.edited.into();
                let (metadata, version) = (world::edited(), 0);
                let edit = Operation::Edit { metadata, version, ver };
                self.operate(world, slot(j), &edit, notes);
            }
            Action::Delete(j) => self.operate(world, slot(j), &Operation::Delete, notes),
            other => unreachable!("{other:?} is no maintenance"),
        }
    }

    fn create(&self, world: &mut World, j: usize, lost: bool, notes: &mut Notes) {
        let new = NewJob { id: world::id(j), spec: self.specs[0].clone(), due: self.due };
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
            assert!(transition::is_repeat(&job, &new), "the same create, repeated");
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
    fn key_is_free(&self, world: &World, j: usize) -> bool {
        !self.unique || (0..JOBS).all(|k| k == j || !world.jobs[k].doc.place.is_live())
    }

    /// One claim call with one token, for these jobs.
    fn claim_by(&self, world: &mut World, w: u8, jobs: &[u8], lost: bool, notes: &mut Notes) {
        if lost {
            world.left.doubts -= 1;
        }
        let mut suspect = true;
        let mut got = 0;
        for &j in jobs {
            let j = usize::from(j);
            let doc = world.jobs[j].doc;
            let mut hand = world.workers[usize::from(w)].hands[j];
            let again = hand.act == Act::Doubt;
            if !again {
                (hand.nonce, hand.fence) = (FRESH, if self.keeps_fence() { doc.fence + 1 } else { 0 });
            }
            let claimed = self.claim(world, j, hand, suspect, notes);
            if claimed {
                got += 1;
                suspect &= doc.crashes == 0;
                if again {
                    notes.saw(Event::ClaimRepeated);
                }
            }
            hand.act = match (lost, claimed) {
                (true, _) => Act::Doubt,
                (false, true) => Act::Run,
                (false, false) => Act::Idle,
            };
            let keep = hand.act != Act::Idle;
            world.workers[usize::from(w)].hands[j] = if keep { hand } else { Hand::default() };
        }
        if got > 1 {
            notes.saw(Event::Batch);
        }
    }

    fn claim(&self, world: &mut World, j: usize, hand: Hand, suspect: bool, notes: &mut Notes) -> bool {
        let doc = world.jobs[j].doc;
        let Some(mut job) = self.job(&doc, j) else {
            return false;
        };
        let grant = self.grant(self.token(hand));
        mutant::before_claim(self.mutant, &mut job);
        if transition::claim(&mut job, &grant, &self.serves(suspect), NOW).is_err() {
            return false;
        }
        let anew = doc.place != Place::Running;
        let nonce = if anew { hand.nonce } else { doc.nonce };
        if !anew {
            notes.saw(Event::SameClaimAnswered);
        }
        let mut doc = Doc::of(&job, nonce, self.keeps_fence());
        doc.indexed = self.mutant != Mutant::ClaimLeavesIndex;
        self.put(world, j, doc);
        true
    }

    fn renew(&self, world: &mut World, w: usize, j: usize, notes: &mut Notes) {
        let hand = world.workers[w].hands[j];
        let token = self.token(hand);
        let mut answer = None;
        self.with(world, j, |job| {
            answer = transition::renew(job, token, None, Model::LEASE, NOW);
            answer.is_some()
        });
        match answer {
            None => world.workers[w].hands[j] = Hand::default(),
            Some(true) => notes.saw(Event::CancelSeen),
            Some(false) => {}
        }
    }

    fn finish(&self, world: &mut World, j: usize, hand: Hand, notes: &mut Notes) {
        let Act::Ending(outcome) = hand.act else {
            unreachable!("only what ended is finished")
        };
        let doc = world.jobs[j].doc;
        if doc.place == Place::Running && doc.nonce != hand.nonce {
            notes.saw(Event::Zombie);
        }
        let Some(mut job) = self.job(&doc, j) else {
            return;
        };
        let token = self.token(hand);
        mutant::before_finish(self.mutant, &mut job, token);
        let Some(_) = transition::finish(&mut job, token, &self.end(outcome), NOW) else {
            return;
        };
        if doc.until == Time::Passed {
            notes.saw(Event::LateFinish);
        }
        let after = self.settled(&job, 0, notes);
        self.put(world, j, after);
    }

    /// What a store keeps of a job after a transition: its id at least.
    fn settled(&self, job: &Job, nonce: u8, notes: &mut Notes) -> Doc {
        notes.saw_end(job);
        if !transition::vanishes(job) {
            return Doc::of(job, nonce, self.keeps_fence());
        }
        notes.saw(Event::Vanished);
        let place = match self.mutant {
            Mutant::ForgetsIds => Place::Gone,
            _ => Place::Remembered,
        };
        Doc { place, ..Doc::default() }
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
        let mut job = self.job(&world.jobs[j].doc, j).expect("operators act on what is there");
        let nonce = world.jobs[j].doc.nonce;
        let answer = transition::operate(&mut job, operation, NOW);
        assert!(matches!(answer, Operated::Done(_)), "{operation:?}: {answer:?}");
        world.left.operations -= 1;
        let doc = match operation {
            Operation::Delete => Doc { place: Place::Gone, ..Doc::default() },
            _ => self.settled(&job, nonce, notes),
        };
        if requeue {
            assert_eq!(job.epoch, 1, "one more than before");
            notes.saw(Event::Requeued);
        }
        self.put(world, j, doc);
    }

    /// Runs a transition that answers whether it changed the job.
    fn with(&self, world: &mut World, j: usize, change: impl FnOnce(&mut Job) -> bool) -> bool {
        let Some(mut job) = self.job(&world.jobs[j].doc, j) else {
            return false;
        };
        let changed = change(&mut job);
        if changed {
            let Doc { nonce, indexed, .. } = world.jobs[j].doc;
            let doc = Doc::of(&job, nonce, self.keeps_fence());
            self.put(world, j, Doc { indexed, ..doc });
        }
        changed
    }

    fn put(&self, world: &mut World, j: usize, mut doc: Doc) {
        if self.hints == 0 {
            doc.touch = Time::None;
        }
        world.jobs[j].doc = doc;
    }

    fn job(&self, doc: &Doc, j: usize) -> Option<Job> {
        let Doc { nonce, fence, .. } = *doc;
        doc.job(j, &self.specs, self.token(Hand { act: Act::Idle, nonce, fence }))
    }

    /// What the real functions take for a grant's token.
    fn token(&self, hand: Hand) -> Token {
        let counted = self.mutant == Mutant::CounterToken;
        world::token(if counted { hand.fence } else { hand.nonce })
    }
}

/// Whether the job is over, for this reason.
pub fn died(job: &Job, why: DeadReason) -> bool {
    matches!(&job.phase, Phase::Ended(Ended { how: How::Dead(reason), .. }) if *reason == why)
}

/// Whether it is over by request.
pub fn cancelled(job: &Job) -> bool {
    job.state() == State::Cancelled
}

/// A hold that a mutant makes up.
pub fn hold(token: Token) -> Hold {
    Hold {
        token,
        owner: world::owner(),
        since: NOW,
        lease_until: NOW,
        cancel: false,
    }
}
