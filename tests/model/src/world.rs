//! What the model remembers: jobs as projections of real [`Job`](bgjob_core::Job)s, workers,
//! clients, hints.
//!
//! Times are not numbers here but flags, and any of them may pass at any moment. That covers every
//! clock, however wrong, and every worker that comes back from the dead.

/// Room for so many jobs; a configuration says how many it uses.
pub const JOBS: usize = 2;
/// Room for so many workers.
pub const WORKERS: usize = 3;

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

/// The projection of a stored [`Job`](bgjob_core::Job).
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

impl Doc {
    /// No document, for this reason.
    pub fn gone(place: Place) -> Self {
        Self {
            place,
            ..Self::default()
        }
    }
}

/// A [`State`](bgjob_core::State), or why there is none.
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
