//! What an action does: always by way of the real transitions, unless a mutant bends them.

use bgjob_core::{
    Job,
    job::{Token, transition},
};

use super::{
    action::Action,
    config::Model,
    judge::{Event, Notes},
    mutant::{self, Mutant},
    projection::{self, NOW},
    world::{Act, Doc, Hand, Late, Life, Outcome, Place, Time, World},
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
            action => self.surround(world, action, notes),
        }
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
                (hand.nonce, hand.fence) =
                    (FRESH, if self.keeps_fence() { doc.fence + 1 } else { 0 });
            }
            let claimed = self.claim(world, j, hand, suspect, notes);
            if claimed {
                got += 1;
                suspect &= !self.job(&doc, j).is_some_and(|job| job.is_suspect());
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

    fn claim(
        &self,
        world: &mut World,
        j: usize,
        hand: Hand,
        suspect: bool,
        notes: &mut Notes,
    ) -> bool {
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
    pub fn settled(&self, job: &Job, nonce: u8, notes: &mut Notes) -> Doc {
        notes.saw_end(job);
        if !transition::vanishes(job) {
            return Doc::of(job, nonce, self.keeps_fence());
        }
        notes.saw(Event::Vanished);
        let place = match self.mutant {
            Mutant::ForgetsIds => Place::Gone,
            _ => Place::Remembered,
        };
        Doc::gone(place)
    }

    /// Runs a transition that answers whether it changed the job.
    pub fn with(&self, world: &mut World, j: usize, change: impl FnOnce(&mut Job) -> bool) -> bool {
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

    pub fn put(&self, world: &mut World, j: usize, mut doc: Doc) {
        if self.hints == 0 {
            doc.touch = Time::None;
        }
        world.jobs[j].doc = doc;
    }

    pub fn job(&self, doc: &Doc, j: usize) -> Option<Job> {
        let Doc { nonce, fence, .. } = *doc;
        doc.job(
            j,
            &self.specs,
            self.token(Hand {
                act: Act::Idle,
                nonce,
                fence,
            }),
        )
    }

    /// What the real functions take for a grant's token.
    fn token(&self, hand: Hand) -> Token {
        let counted = self.mutant == Mutant::CounterToken;
        projection::token(if counted { hand.fence } else { hand.nonce })
    }
}
