//! [`Hand`]: the claimed jobs of one queue that wait for a slot, and how many more are wanted.

use std::{
    collections::VecDeque,
    mem,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::sync::Notify;

use crate::{extract::Held, job::limits};

/// The jobs of one queue in this process's hands that no slot has taken up.
#[derive(Debug)]
pub(super) struct Hand {
    pub(super) queue: Arc<str>,
    pub(super) slots: usize,
    line: Mutex<Line>,
    /// Slots wait here for jobs.
    filled: Notify,
    /// Slots that run a job.
    busy: AtomicUsize,
    /// Moving average of how long attempts take, in nanoseconds. `u64::MAX`: none has ended yet.
    run: AtomicU64,
    /// A slot that leaves fewer jobs than this asks for more.
    low: AtomicUsize,
    /// The last claim gave less than was wanted: asking again at once is of no use.
    pub(super) dry: AtomicBool,
    /// All slots were busy at some time since `spare` last looked.
    full: AtomicBool,
    /// The last jobs had crashed ones among them: no more are asked for than slots are free.
    careful: AtomicBool,
}

#[derive(Debug, Default)]
struct Line {
    jobs: VecDeque<Arc<Held>>,
    /// What these bring along.
    bytes: usize,
    closed: bool,
    /// A slot has taken a job since `stuck` last looked.
    moved: bool,
}

impl Line {
    /// How many stand in front that have crashed.
    fn crashed(&self) -> usize {
        let crashed = self.jobs.iter().take_while(|job| job.job.has_crashed());
        crashed.count()
    }

    fn take(&mut self) -> Vec<Arc<Held>> {
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

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes jobs in. Those that have crashed go first, and into free slots only: none of them is
    /// to wait behind others and go down with what kills the process. A suspect was asked for.
    /// Answers what it does not take: crashed ones beyond the free slots, all where it has closed.
    pub(super) fn add(&self, jobs: Vec<Arc<Held>>) -> Vec<Arc<Held>> {
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

    /// The next job for a slot, and whether more should be fetched. Waits; `None` when the hand
    /// has closed.
    pub(super) async fn next(&self) -> Option<(Arc<Held>, bool)> {
        loop {
            if let Some(answer) = self.try_next() {
                return answer;
            }
            // In line before looking again, so that no wake-up between look and wait is missed.
            let mut filled = pin!(self.filled.notified());
            filled.as_mut().enable();
            if let Some(answer) = self.try_next() {
                return answer;
            }
            filled.await;
        }
    }

    /// `None`: wait. `Some(None)`: closed.
    fn try_next(&self) -> Option<Option<(Arc<Held>, bool)>> {
        let mut line = self.line();
        match line.jobs.pop_front() {
            Some(job) => {
                line.bytes -= job.job.spec.bytes();
                line.moved = true;
                if self.busy.fetch_add(1, Relaxed) + 1 >= self.slots {
                    self.full.store(true, Relaxed);
                }
                Some(Some((job, line.jobs.len() < self.low.load(Relaxed))))
            }
            None if line.closed => Some(None),
            None => None,
        }
    }

    /// A slot is free again, and did not run what it took.
    pub(super) fn left(&self) {
        self.busy.fetch_sub(1, Relaxed);
    }

    /// A slot is free again; the attempt took so long.
    pub(super) fn done(&self, ran: Duration) {
        self.left();
        let ran = u64::try_from(ran.as_nanos())
            .unwrap_or(u64::MAX)
            .min(u64::MAX / 16);
        let old = self.run.load(Relaxed);
        // A race between slots loses one sample of an average: no harm.
        self.run.store(
            if old == u64::MAX {
                ran
            } else {
                old - old / 8 + ran / 8
            },
            Relaxed,
        );
    }

    /// The jobs that wait, if all slots are busy and none has taken a job since the last look,
    /// `span` ago: they were taken ahead because jobs were short, and what runs now is long.
    pub(super) fn hoard(&self, span: Duration) -> Vec<Arc<Held>> {
        let mut line = self.line();
        if mem::take(&mut line.moved) || line.jobs.is_empty() || self.free() > 0 {
            return Vec::new();
        }
        let span = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX / 16);
        self.run.fetch_max(span, Relaxed);
        line.take()
    }

    /// No more jobs for the slots; answers those that waited.
    pub(super) fn close(&self) -> Vec<Arc<Held>> {
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

    /// Whether there is room, and has been since the last look.
    pub(super) fn spare(&self) -> bool {
        !self.full.swap(self.free() == 0, Relaxed) && self.has_room()
    }

    /// How many jobs to ask for: the free slots, and what they will have run by the time the
    /// next batch is here (slots ÷ run time × round trip). Jobs of microseconds are fetched a
    /// thousand at a time; of jobs that take longer than a round trip none waits in hand.
    /// Nothing until the hand is half empty, so that batches are worth their while; nor while what
    /// waits in it is large.
    pub(super) fn want(&self, round_trip: Duration) -> usize {
        let ahead = self.ahead(round_trip);
        self.low.store(ahead / 2 + 1, Relaxed);
        let (free, waiting) = (self.free(), self.waiting());
        if waiting >= free + ahead.div_ceil(2) || self.is_heavy() {
            return 0;
        }
        (free + ahead - waiting).min(limits::BATCH)
    }

    /// What waits is as large as a claim is worth to be.
    fn is_heavy(&self) -> bool {
        self.line().bytes >= limits::BATCH_BYTES / 2
    }

    fn ahead(&self, round_trip: Duration) -> usize {
        /// A batch can't be expected sooner than this, so short jobs are fetched some ahead.
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

    /// Attempts take less than a second here: a slot is soon free.
    pub(super) fn is_quick(&self) -> bool {
        self.run.load(Relaxed) < 1_000_000_000
    }
}
