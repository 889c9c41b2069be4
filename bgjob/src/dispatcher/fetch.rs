//! The fetch loop: records ends and claims what is ready, in batches, in one call where it can.
//!
//! Whatever ends while a call is on its way goes with the next: full batches under load, no wait
//! when idle. Many ends have a call of their own [beside](Recording) where the store prefers that.
//! Where a queue is configured the loop only records, and repairs: once a second while slots are
//! free it looks into the store itself, for what no hint led to. While the queue has nothing and
//! the store more than it can take, it goes on with that.

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
    core::{Core, OpenClaim, Phase, SuspectTurn},
    ends::{Batch, Ended},
    hand::Hand,
    record::{Recording, check, finish, settle},
};
use crate::{
    Error, Result,
    calls::contained,
    entropy,
    events::{Part, Via},
    job::{ClaimedJob, End, Failure, FailureKind, Grant, Retry, Serves, limits},
    store::{Claimed, Ending, Finished, Want},
};

/// Where a store wakes, it is asked by itself this often all the same.
const SAFETY: Duration = Duration::from_secs(5);
/// How long a lost hint may go unseen by a dispatcher with slots to spare.
const REPAIR: Duration = Duration::from_secs(1);
/// A store that has more of one queue does not say when the next job of another is due.
const SOON: Duration = Duration::from_millis(50);

type Wait = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

pub(super) async fn run(core: Arc<Core>) {
    Fetch::new(core).run().await;
}

struct Fetch {
    core: Arc<Core>,
    /// Where the store has work of its own to find: no queue, or repair beside one.
    scans: bool,
    /// A wait for new work that has begun already, so that nothing new is missed.
    wait: Option<Wait>,
    /// When dry queues are asked again, whoever wakes or not.
    ask_at: Instant,
    /// When the store is asked beside a queue that has hints, but not enough of them.
    repair_at: Instant,
    /// A claim whose answer was lost: it is repeated with the same token until it is answered.
    in_doubt: Option<(Grant, Instant)>,
    /// From before a claim is sent until what it gave is taken in.
    open: Option<OpenClaim>,
    /// Held from when a suspect is asked for until the store has answered.
    turn: Option<SuspectTurn>,
    /// The last call was refused, as it seemed for a lasting reason. That is believed the second
    /// time: a bug may pass, and would cost a result.
    refused: bool,
    recording: Recording,
}

impl Fetch {
    fn new(core: Arc<Core>) -> Self {
        let scans = core.store.capabilities().ready_scan;
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
            let open = OpenClaim::begin(&self.core);
            let phase = self.core.phase();
            if phase == Phase::Stopped {
                if self.recording.is_open() {
                    self.recording.over().await;
                }
                return;
            }
            let mut ends = self.ends();
            let want = if phase == Phase::Running {
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
                let wait = self.core.store_state.failed(&error);
                self.recording.beside(sleep(wait)).await;
            } else {
                self.refused = false;
                self.core.store_state.worked();
            }
        }
    }

    /// The ends to record now: none while others are on their way.
    fn ends(&self) -> Batch {
        if self.recording.is_open() {
            return self.core.ends.none();
        }
        self.core.ends.take(limits::BATCH)
    }

    /// What to ask the store for now.
    async fn want(&mut self) -> Vec<Want> {
        if !self.scans {
            return Vec::new();
        }
        self.hear().await;
        let now = Instant::now();
        if self.core.look.swap(false, Relaxed) {
            self.ask_at = now;
        }
        let again = now >= self.ask_at;
        if self.core.queue.is_some() {
            return self.repair(again);
        }
        if again {
            // What is known of dry queues is out of date.
            for hand in &self.core.hands {
                hand.dry.store(false, Relaxed);
            }
            self.ask_at = now + self.usual();
        }
        let want = self.core.wants(false);
        if !want.is_empty() || self.wait.is_some() {
            return want;
        }
        // All that are hungry are dry: begin to wait, then look once more before waiting.
        self.begin_wait().await;
        self.core.wants(true)
    }

    /// What to ask for beside a queue. While that has nothing: what the store had more of, and from
    /// time to time anything. While it has hints: from time to time, what has slots to spare.
    fn repair(&mut self, again: bool) -> Vec<Want> {
        let now = Instant::now();
        if self.core.hints_dry.load(Relaxed) {
            let want = self.core.wants(again);
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
        self.core.wants_of(Hand::spare)
    }

    /// How long until the store is asked by itself, jittered.
    fn usual(&self) -> Duration {
        let usual = if self.core.queue.is_some() {
            REPAIR
        } else {
            SAFETY
        };
        usual.mul_f64(0.75 + entropy::unit() / 2.0)
    }

    /// Takes notice of new work, also where there is always something else to do.
    async fn hear(&mut self) {
        if let Some(wait) = &mut self.wait
            && let Poll::Ready(answer) = poll_fn(|cx| Poll::Ready(wait.as_mut().poll(cx))).await
        {
            self.wait_over(answer).await;
        }
    }

    /// There is new work: wait for the next before asking for this.
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

    /// A wait that failed begins again after a pause: where all of them fail, and the claims
    /// between them do not, the log has room for other news.
    fn pause_wait(&mut self, error: &Error) {
        let pause = self.core.store_state.failed(error).max(REPAIR);
        self.wait = Some(Box::pin(async move {
            sleep(pause).await;
            Ok(())
        }));
    }

    /// Begins a wait for new work; what comes after this is not missed.
    async fn begin_wait(&mut self) {
        let core = Arc::clone(&self.core);
        let queues: Vec<_> = self
            .core
            .hands
            .iter()
            .map(|hand| Arc::clone(&hand.queue))
            .collect();
        let mut wait: Wait = Box::pin(async move {
            contained(&core.events, Part::Store, || core.store.wait_ready(&queues)).await
        });
        match poll_fn(|cx| Poll::Ready(wait.as_mut().poll(cx))).await {
            Poll::Pending => self.wait = Some(wait),
            Poll::Ready(Ok(())) => self.wait = None,
            Poll::Ready(Err(error)) => self.pause_wait(&error),
        }
    }

    /// Sleeps until there is an end, room, new work, a due time or a new phase.
    async fn idle(&mut self) {
        let running = self.core.phase() == Phase::Running;
        let asks = self.scans && running && self.has_room();
        let hints = self.core.queue.is_some() && !self.core.hints_dry.load(Relaxed);
        let ask_at = match (asks, hints) {
            (true, false) => self.ask_at,
            (true, true) => self.repair_at,
            (false, _) => Instant::now() + SAFETY,
        };
        tokio::select! {
            biased;
            () = self.core.wake.notified() => {}
            () = self.recording.over() => {}
            answer = wait_for(&mut self.wait) => {
                self.wait_over(answer).await;
            }
            () = sleep_until(ask_at) => {}
        }
    }

    fn has_room(&self) -> bool {
        self.core.hands.iter().any(|hand| hand.has_room())
    }

    /// One call: ends, claims, or both.
    async fn call(&mut self, ends: Batch, want: Vec<Want>) -> Result<()> {
        let (grant, sent) = match self.in_doubt {
            Some((grant, sent)) => (
                Grant {
                    repeat: true,
                    ..grant
                },
                sent,
            ),
            None => (self.core.grant(), Instant::now()),
        };
        // A claim in doubt is repeated although nothing more is wanted: what it gave is held.
        let claims = !want.is_empty() || grant.repeat;
        let endings = ends.endings();
        let begun = Instant::now();
        let asked = claims.then(|| self.serves());
        let core = &self.core;
        let send = core.store_call(|| Self::send(core, &endings, &want, &grant, asked));
        match self.recording.beside(send).await {
            Ok((answers, claimed)) => {
                self.core.tally.note_trip(begun.elapsed());
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

    /// What is served, and a suspect if it is this loop's turn.
    fn serves(&mut self) -> Serves {
        let (serves, turn) = Core::serves(&self.core);
        self.turn = self.turn.take().or(turn);
        serves
    }

    async fn send(
        core: &Core,
        endings: &[Ending],
        want: &[Want],
        grant: &Grant,
        asked: Option<Serves>,
    ) -> Result<(Vec<Finished>, Option<Claimed>)> {
        let store = &core.store;
        let Some(serves) = asked else {
            return Ok((finish(core, endings).await?, None));
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

    /// The store refuses a batch of ends for a lasting reason: half the batch at a time, until the
    /// culprit stands alone. Its result is dropped then, and the attempt ends as an error.
    async fn halve(&mut self, mut ends: Batch, error: Error) -> Result<()> {
        if let Some(Ended { held, end, .. }) = ends.single() {
            if matches!(end, End::Success(_)) {
                let text = format!("the store refuses the result: {error}");
                let failure = Failure::new(FailureKind::Result, text);
                let wait =
                    self.core.registry.get(&held.job.spec.name).map(|job| {
                        job.wait_of(&held.job.spec, held.job.errors + 1, entropy::unit())
                    });
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

    /// Takes in what was claimed, and notes which queues gave less than was wanted.
    fn take_in(&mut self, claimed: Claimed, want: &[Want], sent: Instant) {
        let (mut dry, mut more) = (false, false);
        // After one that has crashed the answer says nothing of the rest: a store may give them out
        // one by one.
        let crashed = claimed.jobs.iter().any(ClaimedJob::has_crashed);
        for want in want {
            let got = claimed
                .jobs
                .iter()
                .filter(|job| job.spec.queue == want.queue)
                .count();
            let few = got < want.max && !crashed;
            (dry, more) = (dry | few, more | !few);
            if let Some(hand) = self.core.hand(&want.queue) {
                hand.dry.store(few, Relaxed);
            }
        }
        // Other dry queues were perhaps not asked: what is known of them stands.
        let next = claimed.next_due_in.or((dry && more).then_some(SOON));
        if let Some(next) = next {
            self.ask_at = self.ask_at.min(Instant::now() + next);
        }
        self.core.take_in(claimed.jobs, sent, Via::Store);
    }
}

/// The wait if one has begun, else for ever.
async fn wait_for(wait: &mut Option<Wait>) -> Result<()> {
    match wait {
        Some(wait) => wait.await,
        None => std::future::pending().await,
    }
}
