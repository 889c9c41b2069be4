//! [`WorkSearch`]: when the fetch loop asks the store for jobs, and for jobs of which queues.
//!
//! ```text
//!            a claim gives fewer jobs than were wanted
//!   hungry ─────────────────────────────────────────────► dry
//!      ▲                                                   │
//!      └───────────────────────────────────────────────────┘
//!        the wait reports new work, `ask_at` has come, or `look_again` was called
//!
//!   no wait ──► waiting   before dry queues are asked for the last time
//!   waiting ──► waiting   it reports new work: the next wait begins before the store is asked
//!   waiting ──► pausing   it failed: the next one begins a second later
//! ```
//!
//! Hungry queues are asked in every round that has room for jobs. Dry ones are asked again when
//! something announces work.
//!
//! With a queue the loop records and repairs only: about once a second, while slots are free, it
//! asks the store for jobs that no hint led to. While the queue has no hints and the store has more
//! jobs than were asked for, the loop keeps claiming them.

use std::{
    future::{Future, pending, poll_fn},
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::Poll,
    time::Duration,
};

use tokio::time::{Instant, sleep, sleep_until};

use super::{core::Core, hand::Hand, phases::ShutdownPhase, record::Recording};
use crate::{
    Error, Result, entropy,
    job::ClaimedJob,
    store::{Claimed, Want},
};

/// Safety poll: a store that wakes us is still polled this often.
const SAFETY: Duration = Duration::from_secs(5);
/// Repair poll: a dispatcher with free slots finds jobs of lost hints after about this time.
pub(super) const REPAIR: Duration = Duration::from_secs(1);
/// A claim that left ready jobs behind in queue A reports no due time for queue B; ask again after
/// this time.
const SOON: Duration = Duration::from_millis(50);

type ReadyWait = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

pub(super) struct WorkSearch {
    core: Arc<Core>,
    /// The store can find ready jobs itself (a capability). Otherwise the loop only records.
    scans: bool,
    /// The wait for new work: set by `begin_wait` before the store is asked, so that nothing new is
    /// missed; polled by `hear` and `idle`; cleared when it ends.
    wait: Option<ReadyWait>,
    /// When to ask dry queues again, even without a wake-up. Set after each look, and brought
    /// forward by `answered`; read by `want` and `idle`.
    ask_at: Instant,
    /// When to ask the store although the queue has hints, if they leave slots free. Set and read
    /// by `repair`; read by `idle`.
    repair_at: Instant,
}

impl WorkSearch {
    pub(super) fn new(core: Arc<Core>) -> Self {
        let scans = core.store.provider().capabilities().ready_scan;
        Self {
            core,
            scans,
            wait: None,
            ask_at: Instant::now(),
            repair_at: Instant::now() + REPAIR,
        }
    }

    /// The jobs to ask the store for now.
    pub(super) async fn want(&mut self) -> Vec<Want> {
        if !self.scans {
            return Vec::new();
        }
        self.hear().await;
        let now = Instant::now();
        if self.core.bells.take_look() {
            self.ask_at = now;
        }
        let again = now >= self.ask_at;
        if self.core.queue.is_some() {
            return self.repair(again);
        }
        if again {
            // The `dry` marks are out of date.
            for hand in self.core.hands.iter() {
                hand.dry.store(false, Relaxed);
            }
            self.ask_at = now + self.usual();
        }
        let want = self.core.hands.wants(false);
        if !want.is_empty() || self.wait.is_some() {
            return want;
        }
        // All queues with room are dry: begin the wait first, then ask once more.
        self.begin_wait().await;
        self.core.hands.wants(true)
    }

    /// What to ask the store for if there is a queue. While the queue has no hints: jobs of which
    /// the store had more, and from time to time (`again`) jobs of all queues. While the queue has
    /// hints: from time to time jobs for queues with spare slots.
    fn repair(&mut self, again: bool) -> Vec<Want> {
        let now = Instant::now();
        if self.core.bells.are_hints_dry() {
            let want = self.core.hands.wants(again);
            if again && !want.is_empty() {
                self.ask_at = now + self.usual();
                self.repair_at = self.ask_at;
            }
            return want;
        }
        if now < self.repair_at {
            return Vec::new();
        }
        self.repair_at = now + self.usual();
        self.core.hands.wants_of(Hand::spare)
    }

    /// The interval between polls that no wake-up causes, jittered.
    fn usual(&self) -> Duration {
        let usual = if self.core.queue.is_some() {
            REPAIR
        } else {
            SAFETY
        };
        usual.mul_f64(0.75 + entropy::unit() / 2.0)
    }

    /// Checks, without waiting, whether new work was announced; a busy loop never reaches `idle`.
    async fn hear(&mut self) {
        if let Some(wait) = &mut self.wait
            && let Poll::Ready(answer) = poll_fn(|cx| Poll::Ready(wait.as_mut().poll(cx))).await
        {
            self.wait_over(answer).await;
        }
    }

    /// A wait has ended. Begins the next wait before the store is asked for the new work.
    async fn wait_over(&mut self, answer: Result<()>) {
        self.wait = None;
        match answer {
            Ok(()) => {
                self.begin_wait().await;
                self.ask_at = Instant::now();
            }
            Err(error) => self.pause_wait(&error),
        }
    }

    /// A wait that failed begins again after a pause of at least a second. Otherwise waits that all
    /// fail, between claims that work, would flood the log.
    fn pause_wait(&mut self, error: &Error) {
        let pause = self.core.store.failed(error).max(REPAIR);
        self.wait = Some(Box::pin(async move {
            sleep(pause).await;
            Ok(())
        }));
    }

    /// Begins a wait for new work; work that arrives from here on is not missed.
    async fn begin_wait(&mut self) {
        let core = Arc::clone(&self.core);
        let queues = self.core.hands.queues();
        let mut wait: ReadyWait = Box::pin(async move {
            core.store
                .unlimited(|store| store.wait_ready(&queues))
                .await
        });
        match poll_fn(|cx| Poll::Ready(wait.as_mut().poll(cx))).await {
            Poll::Pending => self.wait = Some(wait),
            Poll::Ready(Ok(())) => self.wait = None,
            Poll::Ready(Err(error)) => self.pause_wait(&error),
        }
    }

    /// Waits until there is an end, room, new work, a due time or a new phase.
    pub(super) async fn idle(&mut self, recording: &mut Recording) {
        let running = self.core.phases.now() == ShutdownPhase::Running;
        let asks = self.scans && running && self.core.hands.have_room();
        let hints = self.core.queue.is_some() && !self.core.bells.are_hints_dry();
        let ask_at = match (asks, hints) {
            (true, false) => self.ask_at,
            (true, true) => self.repair_at,
            (false, _) => Instant::now() + SAFETY,
        };
        tokio::select! {
            biased;
            () = self.core.bells.for_fetch() => {}
            () = recording.over() => {}
            answer = wait_for(&mut self.wait) => {
                self.wait_over(answer).await;
            }
            () = sleep_until(ask_at) => {}
        }
    }

    /// Notes which queues gave fewer jobs than were wanted, and when the next job is due.
    pub(super) fn answered(&mut self, claimed: &Claimed, want: &[Want]) {
        let (mut dry, mut more) = (false, false);
        // If a job has crashed before, a short answer does not mean that the queue is dry: a store
        // may hand out such jobs one by one.
        let crashed = claimed.jobs.iter().any(ClaimedJob::has_crashed);
        for want in want {
            let got = claimed
                .jobs
                .iter()
                .filter(|job| job.spec.queue == want.queue)
                .count();
            let few = got < want.max && !crashed;
            (dry, more) = (dry | few, more | !few);
            if let Some(hand) = self.core.hands.of(&want.queue) {
                hand.dry.store(few, Relaxed);
            }
        }
        // Only brings `ask_at` forward: dry queues that were not asked keep their time.
        let next = claimed.next_due_in.or((dry && more).then_some(SOON));
        if let Some(next) = next {
            self.ask_at = self.ask_at.min(Instant::now() + next);
        }
    }
}

/// Waits for the wait that has begun; without one, waits for ever.
async fn wait_for(wait: &mut Option<ReadyWait>) -> Result<()> {
    match wait {
        Some(wait) => wait.await,
        None => pending().await,
    }
}
