//! What can happen next in a world.

use super::{
    action::Action,
    config::Model,
    mutant::Mutant,
    world::{Act, Client, Late, Life, Outcome, Place, Time, World},
};

impl Model {
    /// All that can happen in this world.
    pub fn actions(&self, world: &World, out: &mut Vec<Action>) {
        for j in 0..self.jobs as u8 {
            self.client(world, j, out);
            self.hints(world, j, out);
            self.clock(world, j, out);
            self.sweeper(world, j, out);
            self.operator(world, j, out);
        }
        for w in 0..world.workers.len() as u8 {
            self.worker(world, w, out);
        }
        if world.stale_read.is_some() {
            out.push(Action::RevokeWrites);
        }
        if world.late != Late::None {
            out.push(Action::LateMessage);
        }
        if world.left.rollbacks > 0 {
            out.push(match world.backup {
                None => Action::Backup,
                Some(_) => Action::Rollback,
            });
        }
    }

    fn client(&self, world: &World, j: u8, out: &mut Vec<Action>) {
        match world.jobs[usize::from(j)].client {
            client @ (Client::New | Client::Doubt) => {
                out.push(Action::Create(j));
                if world.left.doubts > 0 {
                    out.push(Action::CreateLost(j));
                }
                if client == Client::Doubt {
                    out.push(Action::ClientDies(j));
                }
            }
            Client::Created => out.extend([Action::Push(j), Action::ClientDies(j)]),
            Client::Done => {}
        }
    }

    fn hints(&self, world: &World, j: u8, out: &mut Vec<Action>) {
        let hints = world.jobs[usize::from(j)].hints;
        if hints > 0 {
            out.push(Action::LoseHint(j));
            if world.left.doubled > 0 && hints < self.hints {
                out.push(Action::DoubleHint(j));
            }
        }
    }

    fn clock(&self, world: &World, j: u8, out: &mut Vec<Action>) {
        let doc = &world.jobs[usize::from(j)].doc;
        if doc.due == Time::Ahead {
            out.push(Action::DuePasses(j));
        } else if doc.touch == Time::Ahead && self.hints > 0 {
            out.push(Action::TouchPasses(j));
        }
        if doc.expires == Time::Ahead {
            out.push(Action::ExpiresPasses(j));
        }
        if doc.deadline == Time::Ahead {
            out.push(Action::DeadlinePasses(j));
        }
        if doc.until == Time::Ahead {
            out.push(Action::UntilPasses(j));
        }
    }

    fn sweeper(&self, world: &World, j: u8, out: &mut Vec<Action>) {
        let slot = &world.jobs[usize::from(j)];
        let doc = &slot.doc;
        if doc.indexed && self.mutant != Mutant::NoSweeper {
            match doc.place {
                Place::Ready => {
                    out.push(Action::Expire(j));
                    if doc.touch == Time::Passed && slot.hints < self.hints {
                        out.push(Action::Touch(j));
                    }
                }
                Place::Running if doc.until == Time::Passed => {
                    if self.mutant != Mutant::BlindRevoke {
                        out.push(Action::Revoke(j));
                    } else if world.stale_read.is_none() {
                        out.push(Action::RevokeReads(j));
                    }
                }
                _ => {}
            }
        }
        // Nobody repeats a create for as long as ids are kept, so those that still might have
        // theirs kept.
        if slot.client == Client::Done {
            match doc.place {
                Place::Remembered => out.push(Action::ForgetId(j)),
                place if place.is_terminal() && doc.until == Time::Passed => {
                    out.push(Action::Purge(j));
                }
                _ => {}
            }
        }
    }

    fn operator(&self, world: &World, j: u8, out: &mut Vec<Action>) {
        let slot = &world.jobs[usize::from(j)];
        if world.left.operations == 0 {
            return;
        }
        match slot.doc.place {
            Place::Ready => out.extend([
                Action::Cancel(j),
                Action::Reschedule(j, false),
                Action::Reschedule(j, true),
                Action::Edit(j),
            ]),
            Place::Running if !slot.doc.cancel => out.push(Action::Cancel(j)),
            place if place.is_terminal() => {
                out.push(Action::Requeue(j));
                if slot.client == Client::Done {
                    out.push(Action::Delete(j));
                }
            }
            _ => {}
        }
    }

    fn worker(&self, world: &World, w: u8, out: &mut Vec<Action>) {
        let worker = &world.workers[usize::from(w)];
        match worker.life {
            Life::Unborn => return,
            Life::Down => return out.push(Action::Restart(w)),
            Life::Up => {}
        }
        let idle = worker.hands.iter().all(|hand| hand.act == Act::Idle);
        for j in 0..self.jobs as u8 {
            self.hand(world, w, j, idle || self.batches, out);
        }
        if self.batches && idle && self.mutant != Mutant::NoSweeper {
            out.push(Action::ScanAll(w));
            if world.left.doubts > 0 {
                out.push(Action::ScanAllLost(w));
            }
        }
        if world.left.crashes > 0 && !idle {
            out.push(Action::Crash(w));
        }
    }

    fn hand(&self, world: &World, w: u8, j: u8, free: bool, out: &mut Vec<Action>) {
        let hand = world.workers[usize::from(w)].hands[usize::from(j)];
        let slot = &world.jobs[usize::from(j)];
        let doubts = world.left.doubts > 0;
        match hand.act {
            Act::Idle if free => {
                if slot.hints > 0 {
                    out.push(Action::Deliver(w, j));
                }
                let found = slot.doc.place == Place::Ready && slot.doc.indexed;
                if found && self.mutant != Mutant::NoSweeper {
                    out.push(Action::Scan(w, j));
                    if doubts {
                        out.push(Action::ClaimLost(w, j));
                    }
                }
            }
            Act::Idle => {}
            Act::Hint | Act::Doubt => {
                out.push(Action::Claim(w, j));
                if doubts && hand.act == Act::Hint {
                    out.push(Action::ClaimLost(w, j));
                }
            }
            Act::Run => {
                out.push(Action::Renew(w, j));
                use Outcome::{Abort, Error, Release, Snooze, Success};
                out.extend([Success, Error, Abort].map(|end| Action::Ends(w, j, end)));
                if world.left.frees > 0 {
                    out.extend([Release, Snooze].map(|end| Action::Ends(w, j, end)));
                }
            }
            Act::Ending(_) => {
                out.push(Action::Finish(w, j));
                if doubts {
                    out.push(Action::FinishLost(w, j));
                }
            }
        }
        let sent = matches!(hand.act, Act::Doubt | Act::Ending(_));
        if sent && world.left.late > 0 && world.late == Late::None {
            out.push(Action::CopyMessage(w, j));
        }
    }
}
