//! What the model remembers: jobs as projections of real [`Job`]s, workers, clients, hints.
//!
//! Times are not numbers here but flags, and any of them may pass at any moment. That covers every
//! clock, however wrong, and every worker that comes back from the dead.

use std::{sync::Arc, time::Duration};

use bgjob::{
    Job, JobId, JobSpec, Json, Owner, State, Timestamp,
    job::{DeadReason, Ended, Hold, How, Phase, Token},
};

/// Room for so many jobs; a configuration says how many it uses.
pub const JOBS: usize = 2;
/// Room for so many workers.
pub const WORKERS: usize = 3;

/// The moment at which every transition happens.
pub const NOW: Timestamp = Timestamp::from_millis(1_000_000_000_000);
const HOUR: Duration = Duration::from_secs(3600);

/// Everything there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct World {
    pub jobs: [Slot; JOBS],
    pub workers: [Worker; WORKERS],
    /// A copy of a message, still under way after its sender went on.
    pub late: Late,
    /// What is left of what may go wrong.
    pub left: Budgets,
    /// What a store that loses its last commits would come back with.
    pub backup: Option<[Doc; JOBS]>,
    /// What a sweeper read that writes without looking again (a mutant).
    pub stale_read: Option<(u8, Doc)>,
}

/// One job with what surrounds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Slot {
    pub doc: Doc,
    /// Hints in the queue.
    pub hints: u8,
    pub client: Client,
    /// The client was told that the job is stored.
    pub acked: bool,
    /// A success of this epoch was recorded.
    pub succeeded: bool,
    /// Grants of this epoch, less those that were given back.
    pub starts: u8,
}

/// The projection of a stored [`Job`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Doc {
    pub place: Place,
    pub due: Time,
    pub touch: Time,
    pub expires: Time,
    pub deadline: Time,
    /// The lease's end while it runs, `purge_at` when it is over.
    pub until: Time,
    pub cancel: bool,
    pub edited: bool,
    /// It can be found by time.
    pub indexed: bool,
    /// Which grant holds it.
    pub nonce: u8,
    /// Kept only where a mutant takes it for a token.
    pub fence: u8,
    pub errors: u8,
    pub crashes: u8,
}

/// A [`State`], or why there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Place {
    #[default]
    Absent,
    Ready,
    Running,
    Succeeded,
    Dead,
    Cancelled,
    /// Deleted at its end; its id is remembered for five minutes.
    Remembered,
    /// Purged, deleted or forgotten.
    Gone,
}

impl Place {
    pub fn is_live(self) -> bool {
        matches!(self, Self::Ready | Self::Running)
    }

    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Dead | Self::Cancelled)
    }
}

/// Where a point in time lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Time {
    #[default]
    None,
    Ahead,
    Passed,
}

/// Who enqueues a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Client {
    #[default]
    New,
    /// The answer to its create was lost.
    Doubt,
    /// Acknowledged; the hint is not pushed yet.
    Created,
    Done,
}

/// A dispatcher's process with one slot for each job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Worker {
    pub life: Life,
    pub hands: [Hand; JOBS],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Life {
    #[default]
    Unborn,
    Down,
    Up,
}

/// What a worker does with one job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Hand {
    pub act: Act,
    pub nonce: u8,
    pub fence: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Act {
    #[default]
    Idle,
    /// It received a hint and has not claimed yet.
    Hint,
    /// The answer to its claim was lost.
    Doubt,
    Run,
    /// The handler has ended so; the store does not know for certain.
    Ending(Outcome),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    Success,
    Error,
    Abort,
    Release,
    Snooze,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Late {
    #[default]
    None,
    Claim(u8, Hand),
    Finish(u8, Hand, Outcome),
}

/// How often what may go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Budgets {
    /// A worker's process dies.
    pub crashes: u8,
    /// The answer of a create, claim or finish is lost.
    pub doubts: u8,
    /// A hint is doubled.
    pub doubled: u8,
    /// Attempts that are given back, or ask to run later.
    pub frees: u8,
    /// An operator does something.
    pub operations: u8,
    /// A copy of a message arrives late.
    pub late: u8,
    /// The store loses its last commits.
    pub rollbacks: u8,
}

pub fn id(job: usize) -> JobId {
    JobId::from_bytes([job as u8 + 1; 16])
}

pub fn token(label: u8) -> Token {
    Token::from_bytes([label; 16])
}

pub fn owner() -> Owner {
    Owner::from_bytes([0; 16])
}

/// What an edit replaces the metadata by.
pub fn edited() -> Json {
    Json::trusted("1")
}

fn at(time: Time) -> Timestamp {
    match time {
        Time::Passed => Timestamp::from_millis(NOW.as_millis() - 3_600_000),
        Time::None | Time::Ahead => NOW + HOUR,
    }
}

fn limit(time: Time) -> Option<Timestamp> {
    (time != Time::None).then(|| at(time))
}

fn seen(time: Timestamp) -> Time {
    if time <= NOW {
        Time::Passed
    } else {
        Time::Ahead
    }
}

impl Doc {
    /// The job this stands for, held by `holder` if it runs; `None` if there is none.
    pub fn job(&self, job: usize, specs: &[Arc<JobSpec>; 2], holder: Token) -> Option<Job> {
        let over = |how| {
            Phase::Ended(Ended {
                how,
                at: at(Time::Passed),
                purge_at: at(self.until),
            })
        };
        let phase = match self.place {
            Place::Absent | Place::Remembered | Place::Gone => return None,
            Place::Ready => Phase::Ready {
                touch_at: at(self.touch),
            },
            Place::Running => Phase::Running(Hold {
                token: holder,
                owner: owner(),
                since: at(Time::Passed),
                lease_until: at(self.until),
                cancel: self.cancel,
            }),
            Place::Succeeded => over(How::Succeeded(Json::null())),
            Place::Dead => over(How::Dead(DeadReason::Errors)),
            Place::Cancelled => over(How::Cancelled),
        };
        Some(Job {
            id: id(job),
            spec: Arc::clone(&specs[usize::from(self.edited)]),
            phase,
            ver: self.edited.into(),
            fence: self.fence.into(),
            epoch: 0,
            errors: self.errors.into(),
            crashes: self.crashes.into(),
            created_at: at(Time::Passed),
            due_at: at(self.due),
            expires_at: limit(self.expires),
            deadline_at: limit(self.deadline),
            progress: None,
            history: Vec::new(),
        })
    }

    /// The projection of a job that `nonce` holds if it runs. What no transition can look at in
    /// the job's state is left out, so that fewer states differ.
    pub fn of(job: &Job, nonce: u8, keep_fence: bool) -> Self {
        let small = |n: u32| u8::try_from(n).expect("budgets are small");
        let mut doc = Self {
            edited: job.spec.metadata == edited(),
            indexed: true,
            fence: if keep_fence { job.fence as u8 } else { 0 },
            ..Self::default()
        };
        if !job.state().is_terminal() {
            doc.due = seen(job.due_at);
            doc.expires = job.expires_at.map_or(Time::None, seen);
            doc.deadline = job.deadline_at.map_or(Time::None, seen);
            doc.errors = small(job.errors);
            doc.crashes = small(job.crashes);
        }
        match &job.phase {
            Phase::Ready { touch_at } => doc.touch = seen(*touch_at),
            Phase::Running(hold) => {
                doc.nonce = nonce;
                doc.until = seen(hold.lease_until);
                doc.cancel = hold.cancel;
            }
            Phase::Ended(end) => doc.until = seen(end.purge_at),
        }
        doc.place = match job.state() {
            State::Ready => Place::Ready,
            State::Running => Place::Running,
            State::Succeeded => Place::Succeeded,
            State::Dead => Place::Dead,
            State::Cancelled => Place::Cancelled,
        };
        doc
    }
}

impl World {
    /// The one world that stands for all those that differ from it by names only: workers are
    /// sorted, and grants are numbered in the order in which they are met.
    #[must_use]
    pub fn canonical(mut self) -> Self {
        let jobs = self.jobs;
        self.workers.sort_by_key(|worker| {
            let hand = |j: usize| {
                let hand = worker.hands[j];
                (hand.act, hand.nonce == jobs[j].doc.nonce)
            };
            (worker.life, [hand(0), hand(1)])
        });
        for j in 0..JOBS {
            let mut names = [0_u8; 16];
            let mut next = 0;
            let mut rename = |nonce: &mut u8| {
                if *nonce != 0 {
                    let name = &mut names[usize::from(*nonce)];
                    if *name == 0 {
                        next += 1;
                        *name = next;
                    }
                    *nonce = *name;
                }
            };
            rename(&mut self.jobs[j].doc.nonce);
            for worker in &mut self.workers {
                rename(&mut worker.hands[j].nonce);
            }
            if let Some(docs) = &mut self.backup {
                rename(&mut docs[j].nonce);
            }
            if let Late::Claim(job, hand) | Late::Finish(job, hand, _) = &mut self.late
                && usize::from(*job) == j
            {
                rename(&mut hand.nonce);
            }
        }
        self
    }
}

/// A world in so few words that comparing and hashing it is cheap: that is most of the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key([u64; 8]);

impl World {
    pub fn key(&self) -> Key {
        let mut words = Words::default();
        for slot in &self.jobs {
            words.doc(&slot.doc);
            let flags = u8::from(slot.acked) << 1 | u8::from(slot.succeeded);
            words.put([slot.hints << 4 | slot.starts, (slot.client as u8) << 2 | flags]);
        }
        for worker in &self.workers {
            words.put([worker.life as u8]);
            worker.hands.iter().for_each(|hand| words.hand(hand));
        }
        match &self.late {
            Late::None => words.put([0]),
            Late::Claim(job, hand) => {
                words.put([1, *job]);
                words.hand(hand);
            }
            Late::Finish(job, hand, _) => {
                words.put([2, *job]);
                words.hand(hand);
            }
        }
        let left = &self.left;
        words.put([left.crashes << 4 | left.doubts, left.doubled << 4 | left.frees]);
        words.put([left.operations << 4 | left.late, left.rollbacks]);
        words.put([u8::from(self.backup.is_some()), u8::from(self.stale_read.is_some())]);
        self.backup.iter().flatten().for_each(|doc| words.doc(doc));
        if let Some((job, doc)) = &self.stale_read {
            words.put([*job]);
            words.doc(doc);
        }
        Key(words.words)
    }
}

#[derive(Default)]
struct Words {
    words: [u64; 8],
    bytes: usize,
}

impl Words {
    fn put<const N: usize>(&mut self, bytes: [u8; N]) {
        for byte in bytes {
            self.words[self.bytes / 8] |= u64::from(byte) << (self.bytes % 8 * 8);
            self.bytes += 1;
        }
    }

    fn doc(&mut self, doc: &Doc) {
        let flags = u8::from(doc.cancel) | u8::from(doc.edited) << 1 | u8::from(doc.indexed) << 2;
        self.put([
            doc.place as u8 | (doc.due as u8) << 3 | (doc.touch as u8) << 5,
            doc.expires as u8 | (doc.deadline as u8) << 2 | (doc.until as u8) << 4,
            flags << 4 | doc.errors,
            doc.crashes << 4 | doc.nonce,
            doc.fence,
        ]);
    }

    fn hand(&mut self, hand: &Hand) {
        let act = match hand.act {
            Act::Idle => 0,
            Act::Hint => 1,
            Act::Doubt => 2,
            Act::Run => 3,
            Act::Ending(outcome) => 4 + outcome as u8,
        };
        self.put([act << 4 | hand.nonce, hand.fence]);
    }
}
