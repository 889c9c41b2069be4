//! The fetch loop: records ends and claims ready jobs, in batches, in one call if possible.
//!
//! Jobs that end during a call are recorded by the next one: batches are full under load, and
//! nothing waits when idle. Many ends get [a call of their own](Recording) if the store prefers
//! that. With a queue the loop records and repairs only: about once a second, while slots are free,
//! it asks the store for jobs that no hint led to. While the queue has no hints and the store has
//! more jobs than were asked for, the loop keeps claiming them.

use std::{
    future::{Future, poll_fn},
    mem,
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::Poll,
    time::Duration,
};

use tokio::time::{Instant, sleep, sleep_until};

use super::{
    claims::OpenClaim,
    core::Core,
    ends::{Batch, Ended},
    hand::Hand,
    phases::ShutdownPhase,
    record::{Recording, check, finish, settle},
    suspects::SuspectTurn,
};
use crate::{
    Error, JobStore, Result, entropy,
    events::Via,
    job::{ClaimedJob, End, Failure, FailureKind, Grant, Retry, Serves, limits},
    store::{Claimed, Ending, Finished, Want},
};

/// Safety poll: a store that wakes us is still polled this often.
const SAFETY: Duration = Duration::from_secs(5);
/// Repair poll: a dispatcher with free slots finds jobs of lost hints after about this time.
const REPAIR: Duration = Duration::from_secs(1);
/// A claim that left ready jobs behind in queue A reports no due time for queue B; ask again after
/// this time.
const SOON: Duration = Duration::from_millis(50);

type Wait = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

pub(super) async fn run(core: Arc<Core>) {
    Fetch::new(core).run().await;
}

struct Fetch {
    core: Arc<Core>,
    /// The store can find ready jobs itself (a capability). Otherwise the loop only records.
    scans: bool,
    /// The wait for new work: set by `begin_wait` before the store is asked, so that nothing new is
    /// missed; polled by `hear` and `idle`; cleared when it ends.
    wait: Option<Wait>,
    /// When to ask dry queues again, even without a wake-up. Set after each look and to a due time
    /// that a claim reports; read by `want` and `idle`.
    ask_at: Instant,
    /// When to ask the store although the queue has hints, if they leave slots free. Set and read
    /// by `repair`; read by `idle`.
    repair_at: Instant,
    /// A claim whose answer was lost, and when it was sent. `call` sets it and repeats the claim
    /// with the same token until the store answers.
    in_doubt: Option<(Grant, Instant)>,
    /// Set before a claim is sent, dropped once its jobs are taken in; the shutdown waits for it.
    open: Option<OpenClaim>,
    /// Set when a claim asks for a suspect, dropped once the store has answered.
    turn: Option<SuspectTurn>,
    /// Since the last success, the store has refused ends for a seemingly lasting reason. Only a
    /// second refusal makes `call` split the batch: a bug may pass, and a split may cost a result.
    refused: bool,
    /// The call that records many ends beside a claim, if one is on its way.
    recording: Recording,
}

impl Fetch {
    fn new(core: Arc<Core>) -> Self {
        let scans = core.store.provider().capabilities().ready_scan;
        Self {
            recording: Recording::new(Arc::clone(&core)),
            core,
            scans,
            wait: None,
            ask_at: Instant::now(),
            repair_at: Instant::now() + REPAIR,
            in_doubt: None,
            open: None,
            turn: None,
            refused: false,
        }
    }

    async fn run(mut self) {
        loop {
            self.core.beats.beat(&self.core.beats.fetch);
            let open = self.core.claims.begin();
            let phase = self.core.phases.now();
            if phase == ShutdownPhase::Stopped {
                if self.recording.is_open() {
                    self.recording.over().await;
                }
                return;
            }
            let mut ends = self.ends();
            let want = if phase == ShutdownPhase::Running {
                self.want().await
            } else {
                Vec::new()
            };
            self.open = (!want.is_empty() || self.in_doubt.is_some()).then_some(open);
            if self.open.is_some() && self.recording.is_worth(&ends) {
                self.recording
                    .begin(mem::replace(&mut ends, self.core.ends.none()));
            }
            if ends.is_empty() && self.open.is_none() {
                self.idle().await;
            } else if let Err(error) = self.call(ends, want).await {
                let wait = self.core.store.failed(&error);
                self.recording.beside(sleep(wait)).await;
            } else {
                self.refused = false;
                self.core.store.worked();
            }
        }
    }

    /// The ends to record now: none while a call beside records others.
    fn ends(&self) -> Batch {
        if self.recording.is_open() {
            return self.core.ends.none();
        }
        self.core.ends.take(limits::BATCH)
    }

    /// The jobs to ask the store for now.
    async fn want(&mut self) -> Vec<Want> {
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
        let mut wait: Wait = Box::pin(async move {
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
    async fn idle(&mut self) {
        let running = self.core.phases.now() == ShutdownPhase::Running;
        let asks = self.scans && running && self.has_room();
        let hints = self.core.queue.is_some() && !self.core.bells.are_hints_dry();
        let ask_at = match (asks, hints) {
            (true, false) => self.ask_at,
            (true, true) => self.repair_at,
            (false, _) => Instant::now() + SAFETY,
        };
        tokio::select! {
            biased;
            () = self.core.bells.for_fetch() => {}
            () = self.recording.over() => {}
            answer = wait_for(&mut self.wait) => {
                self.wait_over(answer).await;
            }
            () = sleep_until(ask_at) => {}
        }
    }

    fn has_room(&self) -> bool {
        self.core.hands.have_room()
    }

    /// One call to the store: records ends, claims jobs, or both.
    async fn call(&mut self, ends: Batch, want: Vec<Want>) -> Result<()> {
        let (grant, sent) = match self.in_doubt {
            Some((grant, sent)) => (grant.repeat(true), sent),
            None => (self.core.grant(), Instant::now()),
        };
        // A claim in doubt is repeated even if no jobs are wanted: its jobs may be held for us.
        let claims = !want.is_empty() || grant.repeat;
        let endings = ends.endings();
        let begun = Instant::now();
        let asked = claims.then(|| self.serves());
        let core = &self.core;
        let send = core
            .store
            .call(|store| Self::send(store, &endings, &want, &grant, asked));
        match self.recording.beside(send).await {
            Ok((answers, claimed)) => {
                self.core.hands.trip.note(begun.elapsed());
                let mut unreadable = Vec::new();
                if let Some(mut claimed) = claimed {
                    unreadable.append(&mut claimed.unreadable);
                    self.in_doubt = None;
                    self.take_in(claimed, &want, sent);
                    self.turn = None;
                    self.open = None;
                }
                settle(&self.core, ends, &answers).await;
                self.core.tell_unreadable(&unreadable).await;
                Ok(())
            }
            Err(error) => {
                if claims {
                    self.in_doubt = Some((grant, sent));
                }
                let may_pass = error.is_retryable() || ends.is_empty();
                if may_pass || !mem::replace(&mut self.refused, true) {
                    return Err(error);
                }
                self.halve(ends, error).await
            }
        }
    }

    /// The served jobs, including a suspect if it is this loop's turn.
    fn serves(&mut self) -> Serves {
        let (serves, turn) = self.core.serves();
        self.turn = self.turn.take().or(turn);
        serves
    }

    async fn send(
        store: &dyn JobStore,
        endings: &[Ending],
        want: &[Want],
        grant: &Grant,
        asked: Option<Serves>,
    ) -> Result<(Vec<Finished>, Option<Claimed>)> {
        let Some(serves) = asked else {
            return Ok((finish(store, endings).await?, None));
        };
        if endings.is_empty() {
            return Ok((
                Vec::new(),
                Some(store.claim_ready(want, grant, &serves).await?),
            ));
        }
        let (finished, claimed) = store
            .finish_and_claim(endings, want, grant, &serves)
            .await?;
        check(endings, &finished);
        Ok((finished, Some(claimed)))
    }

    /// The store refuses a batch of ends for a lasting reason. Sends each half, recursively, until
    /// the culprit is alone. Its result is then dropped, and the attempt ends as an error.
    async fn halve(&mut self, mut ends: Batch, error: Error) -> Result<()> {
        if let Some(Ended { held, end, .. }) = ends.single() {
            if matches!(end, End::Success(_)) {
                let text = format!("the store refuses the result: {error}");
                let failure = Failure::new(FailureKind::Result, text);
                let wait = self
                    .core
                    .served
                    .registry
                    .get(&held.job.spec.name)
                    .map(|job| job.wait_of(&held.job.spec, held.job.errors + 1, entropy::unit()));
                *end = End::Error {
                    failure,
                    retry: Retry::After(wait.unwrap_or(REPAIR)),
                };
            }
            return Err(error);
        }
        let [head, tail] = ends.halve();
        let head = Box::pin(self.call(head, Vec::new())).await;
        Box::pin(self.call(tail, Vec::new())).await.and(head)
    }

    /// Takes in the claimed jobs and notes which queues gave fewer than were wanted.
    fn take_in(&mut self, claimed: Claimed, want: &[Want], sent: Instant) {
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
        self.core.take_in(claimed.jobs, sent, Via::Store);
    }
}

/// Waits for the wait that has begun; without one, waits for ever.
async fn wait_for(wait: &mut Option<Wait>) -> Result<()> {
    match wait {
        Some(wait) => wait.await,
        None => std::future::pending().await,
    }
}
