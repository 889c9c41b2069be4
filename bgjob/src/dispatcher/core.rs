//! [`Core`]: what all loops, slots and handles of one dispatcher share.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use tokio::time::Instant;

use super::{
    bells::Bells,
    claims::OpenClaims,
    clocks::Renewals,
    config::Config,
    deaths::Deaths,
    ends::Ends,
    grants::Grants,
    hand::Hand,
    handle::ShutdownReport,
    hands::Hands,
    link::Link,
    phases::{Phases, ShutdownPhase},
    served::Served,
    suspects::{SuspectTurn, Suspects},
    tally::{Beats, Tally},
    unreadable::Unreadable,
};
use crate::{
    JobManager, JobQueue, JobStore, Owner,
    events::{Event, Events, Part, Via},
    extract::HeldJob,
    job::{ClaimedJob, End, Grant, Serves, Token},
};

/// Lives until the last loop, slot or handle is dropped.
pub(super) struct Core {
    // ---- What the builder was given. Never changes. ----
    pub(super) manager: JobManager,
    pub(super) store: Link<dyn JobStore>,
    pub(super) queue: Option<Link<dyn JobQueue>>,
    pub(super) served: Served,
    pub(super) config: Config,
    pub(super) events: Events,
    /// Random: the owner of this dispatcher's claims.
    pub(super) owner: Owner,
    /// The dispatcher's name, for people.
    pub(super) worker: Arc<str>,

    // ---- The jobs on their way. ----
    /// Claimed jobs that wait for a slot: filled by `take_in`, emptied by the slots.
    pub(super) hands: Hands,
    /// Held jobs: added by `take_in`, renewed by the lease loop, removed by `release`.
    pub(super) grants: Grants,
    /// Ends to record: added by `end`, taken by the fetch loop (by `gone` without a runtime).
    pub(super) ends: Ends,
    /// Claims whose jobs are not taken in yet: begun by the fetch and receive loops, read at the
    /// shutdown.
    pub(super) claims: OpenClaims,
    /// When to ask for a suspect: asked by `serves`.
    suspects: Arc<Suspects>,

    // ---- How the loops meet. ----
    /// How far the shutdown has come: raised by `enter`, read by all loops.
    pub(super) phases: Phases,
    /// What wakes the fetch and receive loops: rung by slots, loops and the shutdown.
    pub(super) bells: Bells,
    /// Rounds that renew all held jobs: asked for by the maintain loop, made by the lease loop.
    pub(super) renewals: Renewals,

    // ---- What is reported. ----
    /// Raised where jobs end, read by `health` and the shutdown report.
    pub(super) tally: Tally,
    /// Set by each loop, read by `health` and, for the runtime's pulse, by the lease loop.
    pub(super) beats: Beats,
    /// Unreadable jobs: added by the loops that find one, read by `health`.
    pub(super) unreadable: Unreadable,
    /// Deaths for the hooks of `on_dead`: added where a death is recorded, taken by their loop.
    pub(super) deaths: Deaths,
}

/// What the builder hands over.
pub(super) struct Parts {
    pub(super) manager: JobManager,
    pub(super) served: Served,
    pub(super) config: Config,
    pub(super) events: Events,
    pub(super) worker: Arc<str>,
    pub(super) hands: Vec<Arc<Hand>>,
    pub(super) deaths: Deaths,
}

impl Core {
    pub(super) fn new(parts: Parts) -> Self {
        let Parts {
            manager,
            served,
            config,
            events,
            worker,
            hands,
            deaths,
        } = parts;
        let queue = manager.inner.queue.clone();
        Self {
            store: Link::new(Arc::clone(&manager.inner.store), Part::Store, &events),
            queue: queue.map(|queue| Link::new(queue, Part::Queue, &events)),
            manager,
            served,
            config,
            events,
            owner: Owner::random(),
            worker,
            hands: Hands::new(hands),
            grants: Grants::default(),
            ends: Ends::default(),
            claims: OpenClaims::default(),
            suspects: Arc::default(),
            phases: Phases::default(),
            bells: Bells::default(),
            renewals: Renewals::default(),
            tally: Tally::default(),
            beats: Beats::new(),
            unreadable: Unreadable::default(),
            deaths,
        }
    }

    /// Moves on to a phase of the shutdown; never moves back.
    pub(super) fn enter(&self, phase: ShutdownPhase) {
        self.phases.raise(phase);
        self.bells.ring_both();
    }

    /// The grant of a new claim call, with a fresh token.
    pub(super) fn grant(&self) -> Grant {
        Grant::new(Token::random(), self.owner, self.config.lease)
    }

    /// What this dispatcher can run, and whether a suspect is wanted. The caller keeps the turn
    /// until it has taken the answer in.
    pub(super) fn serves(&self) -> (Serves, Option<SuspectTurn>) {
        let turn = self.suspects.turn(&self.grants, &self.hands);
        let serves = Serves::new(Arc::clone(&self.served.names)).suspect(turn.is_some());
        (serves, turn)
    }

    /// Takes in the jobs of a claim and hands them to the slots.
    pub(super) fn take_in(&self, jobs: Vec<ClaimedJob>, claimed: Instant, via: Via) {
        if jobs.is_empty() {
            return;
        }
        self.events.emit(Event::Claimed {
            jobs: jobs.len(),
            via,
        });
        let held = self.grants.add(jobs, &self.served.services, claimed);
        let mut by_queue: Vec<(&Arc<Hand>, Vec<Arc<HeldJob>>)> = Vec::with_capacity(1);
        let mut late = Vec::new();
        for job in held {
            match self.hands.of(&job.job.spec.queue) {
                Some(hand) => match by_queue.iter_mut().find(|(h, _)| Arc::ptr_eq(h, hand)) {
                    Some((_, jobs)) => jobs.push(job),
                    None => by_queue.push((hand, vec![job])),
                },
                None => late.push(job),
            }
        }
        for (hand, jobs) in by_queue {
            late.append(&mut hand.add(jobs));
        }
        self.give_back(late);
    }

    /// Stops holding a job. After a suspect the next one may come, so the store is asked at once.
    pub(super) fn release(&self, held: &HeldJob) {
        self.grants.release(held);
        if held.job.is_suspect() {
            self.bells.look_again();
        }
    }

    /// Gives jobs back, except those whose end is already decided.
    pub(super) fn give_back(&self, jobs: Vec<Arc<HeldJob>>) {
        for job in jobs {
            if job.decide() {
                self.end(job, End::Release);
            }
        }
    }

    /// Queues an end to be recorded. Only for the caller that decided it; see [`HeldJob::decide`].
    pub(super) fn end(&self, held: Arc<HeldJob>, end: End) {
        if self.ends.push(held, end) {
            self.bells.ring_fetch();
        }
    }

    /// The report of the shutdown, as of now.
    pub(super) fn drained(&self) -> ShutdownReport {
        ShutdownReport {
            drained: self.tally.drained.load(Relaxed),
            released: self.tally.released.load(Relaxed),
            unknown: self.grants.held(),
        }
    }
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core")
            .field("owner", &self.owner)
            .field("phase", &self.phases.now())
            .field("held", &self.grants.held())
            .finish_non_exhaustive()
    }
}
