//! [`Hand`]: the claimed jobs of one queue that wait for a slot, and how many more are wanted.

use std::{
    collections::VecDeque,
    mem,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::sync::Notify;

use crate::lock::Locked;
use crate::{extract::HeldJob, job::limits};

/// The claimed jobs of one queue that no slot has taken yet.
#[derive(Debug)]
pub(super) struct Hand {
    /// The queue's name; set by the builder, as is `slots`.
    pub(super) queue: Arc<str>,
    /// The number of slots.
    pub(super) slots: usize,
    /// The waiting jobs: filled by `add`, emptied by the slots (`next`), `hoard` and `close`.
    line: Mutex<HandLine>,
    /// Wakes slots that wait in `next`: notified by `add` and `close`.
    filled: Notify,
    /// Slots that run a job: raised by `next`, lowered by `left` and `done`.
    busy: AtomicUsize,
    /// Moving average of how long attempts take, in nanoseconds. `u64::MAX`: none has ended yet.
    /// Set by `done` and `hoard`, read by `ahead` and `is_quick`.
    run: AtomicU64,
    /// A slot that leaves fewer waiting jobs than this asks for more. Set by `want`.
    low: AtomicUsize,
    /// The last claim gave fewer jobs than were wanted: asking again at once is useless. Set and
    /// cleared by the fetch loop.
    pub(super) dry: AtomicBool,
    /// All slots were busy at some time since `spare` last looked. Set by `next`.
    full: AtomicBool,
    /// The last jobs added had crashed before: no more are asked for than slots are free. Set and
    /// cleared by `add`, read by `ahead`.
    careful: AtomicBool,
}

#[derive(Debug, Default)]
struct HandLine {
    /// In the order in which slots take them; crashed jobs are in front.
    jobs: VecDeque<Arc<HeldJob>>,
    /// The size of their specs.
    bytes: usize,
    /// No more jobs are added or handed out. Set by `close`, for good.
    closed: bool,
    /// A slot has taken a job since `hoard` last looked. Cleared by `hoard`.
    moved: bool,
}

/// The next job for a slot.
pub(super) struct NextJob {
    pub(super) held: Arc<HeldJob>,
    /// Few jobs are left in the hand: more should be fetched.
    pub(super) few_left: bool,
}

/// One look for the next job.
enum TryNext {
    Job(NextJob),
    /// No job waits.
    Empty,
    /// The hand has closed.
    Closed,
}

impl HandLine {
    /// How many crashed jobs are at the front.
    fn crashed(&self) -> usize {
        let crashed = self.jobs.iter().take_while(|job| job.job.has_crashed());
        crashed.count()
    }

    fn take(&mut self) -> Vec<Arc<HeldJob>> {
        self.bytes = 0;
        self.jobs.drain(..).collect()
    }
}

impl Hand {
    pub(super) fn new(queue: Arc<str>, slots: usize) -> Self {
        Self {
            queue,
            slots,
            line: Mutex::default(),
            filled: Notify::new(),
            busy: AtomicUsize::new(0),
            run: AtomicU64::new(u64::MAX),
            low: AtomicUsize::new(1),
            dry: AtomicBool::new(false),
            full: AtomicBool::new(false),
            careful: AtomicBool::new(false),
        }
    }

    fn line(&self) -> MutexGuard<'_, HandLine> {
        self.line.locked()
    }

    /// Adds jobs. Crashed jobs go first, and only as many as slots are free: while they wait for a
    /// slot they could be blamed for a crash that another job causes. A suspect is always accepted,
    /// as it was asked for. Returns the jobs not accepted: crashed ones beyond the free slots, or
    /// all jobs if the hand has closed.
    pub(super) fn add(&self, jobs: Vec<Arc<HeldJob>>) -> Vec<Arc<HeldJob>> {
        let n = jobs.len();
        let mut back = Vec::new();
        {
            let mut line = self.line();
            if line.closed {
                return jobs;
            }
            let mut ahead = line.crashed();
            let mut careful = false;
            for job in jobs {
                line.bytes += job.job.spec.bytes();
                match (job.job.has_crashed(), job.job.is_suspect()) {
                    (false, _) => line.jobs.push_back(job),
                    (true, true) => {
                        line.jobs.push_front(job);
                        ahead += 1;
                    }
                    (true, false) if ahead < self.free() => {
                        line.jobs.insert(ahead, job);
                        (ahead, careful) = (ahead + 1, true);
                    }
                    (true, false) => {
                        line.bytes -= job.job.spec.bytes();
                        back.push(job);
                        careful = true;
                    }
                }
            }
            self.careful.store(careful, Relaxed);
        }
        for _ in 0..n.min(self.free()) {
            self.filled.notify_one();
        }
        back
    }

    /// Waits for the next job for a slot. `None`: the hand has closed.
    pub(super) async fn next(&self) -> Option<NextJob> {
        loop {
            match self.try_next() {
                TryNext::Job(next) => return Some(next),
                TryNext::Closed => return None,
                TryNext::Empty => {}
            }
            // Registered before the second look: no wake-up between look and wait is missed.
            let mut filled = pin!(self.filled.notified());
            filled.as_mut().enable();
            match self.try_next() {
                TryNext::Job(next) => return Some(next),
                TryNext::Closed => return None,
                TryNext::Empty => filled.await,
            }
        }
    }

    fn try_next(&self) -> TryNext {
        let mut line = self.line();
        let Some(held) = line.jobs.pop_front() else {
            return if line.closed {
                TryNext::Closed
            } else {
                TryNext::Empty
            };
        };
        line.bytes -= held.job.spec.bytes();
        line.moved = true;
        if self.busy.fetch_add(1, Relaxed) + 1 >= self.slots {
            self.full.store(true, Relaxed);
        }
        let few_left = line.jobs.len() < self.low.load(Relaxed);
        TryNext::Job(NextJob { held, few_left })
    }

    /// A slot is free again and did not run the job it took.
    pub(super) fn left(&self) {
        self.busy.fetch_sub(1, Relaxed);
    }

    /// A slot is free again; its attempt took `ran`.
    pub(super) fn done(&self, ran: Duration) {
        self.left();
        let ran = u64::try_from(ran.as_nanos())
            .unwrap_or(u64::MAX)
            .min(u64::MAX / 16);
        let old = self.run.load(Relaxed);
        // A race between slots loses one sample of the average, which does no harm.
        self.run.store(
            if old == u64::MAX {
                ran
            } else {
                old - old / 8 + ran / 8
            },
            Relaxed,
        );
    }

    /// Takes out the waiting jobs if all slots are busy and none has taken a job since the last
    /// look, `span` ago: they were fetched ahead because jobs were short, but the running ones are
    /// long. Otherwise returns none.
    pub(super) fn hoard(&self, span: Duration) -> Vec<Arc<HeldJob>> {
        let mut line = self.line();
        if mem::take(&mut line.moved) || line.jobs.is_empty() || self.free() > 0 {
            return Vec::new();
        }
        let span = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX / 16);
        self.run.fetch_max(span, Relaxed);
        line.take()
    }

    /// Closes the hand: slots get no more jobs. Returns the jobs that waited.
    pub(super) fn close(&self) -> Vec<Arc<HeldJob>> {
        let mut line = self.line();
        line.closed = true;
        let left = line.take();
        drop(line);
        self.filled.notify_waiters();
        left
    }

    pub(super) fn free(&self) -> usize {
        self.slots.saturating_sub(self.busy.load(Relaxed))
    }

    pub(super) fn busy(&self) -> usize {
        self.busy.load(Relaxed)
    }

    pub(super) fn waiting(&self) -> usize {
        self.line().jobs.len()
    }

    /// Whether a slot is free that no waiting job will take.
    pub(super) fn has_room(&self) -> bool {
        self.free() > self.waiting()
    }

    /// Whether there is room, and slots have been free all the time since the last look.
    pub(super) fn spare(&self) -> bool {
        !self.full.swap(self.free() == 0, Relaxed) && self.has_room()
    }

    /// How many jobs to ask for: one per free slot, plus `ahead`, the jobs that the slots finish
    /// before the next batch arrives (slots ÷ run time × two round trips). Jobs of microseconds are
    /// fetched a thousand at a time; jobs much longer than a round trip are not fetched ahead.
    /// Returns 0 until the part ahead is half empty, so that batches are large enough, and while
    /// the waiting jobs are large in bytes.
    pub(super) fn want(&self, round_trip: Duration) -> usize {
        let ahead = self.ahead(round_trip);
        self.low.store(ahead / 2 + 1, Relaxed);
        let (free, waiting) = (self.free(), self.waiting());
        if waiting >= free + ahead.div_ceil(2) || self.is_heavy() {
            return 0;
        }
        (free + ahead - waiting).min(limits::BATCH)
    }

    /// Whether the waiting jobs fill half of a batch's bytes.
    fn is_heavy(&self) -> bool {
        self.line().bytes >= limits::BATCH_BYTES / 2
    }

    fn ahead(&self, round_trip: Duration) -> usize {
        /// The shortest round trip to assume, so that some short jobs are always fetched ahead.
        const SOONEST: Duration = Duration::from_micros(200);
        let run = self.run.load(Relaxed);
        if run == u64::MAX || self.careful.load(Relaxed) {
            return 0;
        }
        let trip = 2 * round_trip.max(SOONEST).as_nanos().min(u64::MAX as u128 / 4) as u64;
        let ahead = trip.saturating_mul(self.slots as u64) / run.max(1);
        usize::try_from(ahead)
            .unwrap_or(usize::MAX)
            .min(limits::BATCH)
    }

    /// Whether attempts take less than a second on average, so that a slot is soon free.
    pub(super) fn is_quick(&self) -> bool {
        self.run.load(Relaxed) < 1_000_000_000
    }
}
