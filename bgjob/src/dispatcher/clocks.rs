//! [`Clocks`]: whether time passed evenly between two rounds of upkeep. A suspended laptop, a
//! stopped process or a clock that was set makes leases look as if they had run out, including
//! this dispatcher's own.

use std::{
    sync::atomic::{AtomicU64, Ordering::SeqCst},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, timeout},
};

use super::core::Core;
use crate::{Error, ErrorKind, Result, Timestamp};

/// How far the store's clock may deviate from this process's from one round to the next.
const TOLERANCE: Duration = Duration::from_secs(1);
/// How long after a jump this dispatcher revokes no jobs. Meanwhile each dispatcher notices the
/// jump in its next round of upkeep, four seconds later at most, and renews the jobs it holds.
const QUIET: Duration = Duration::from_secs(6);

/// The time by both clocks at one round: the store's, and this process's before and after the call.
#[derive(Debug, Clone, Copy)]
struct ClockReading {
    stored: Timestamp,
    before: Instant,
    after: Instant,
}

/// What a round has to know of the previous rounds.
#[derive(Debug, Default)]
pub(super) struct Clocks {
    /// The clocks at the previous round.
    seen: Option<ClockReading>,
    /// This dispatcher must renew its own jobs before it revokes any. Stays set until that worked.
    renew: bool,
    /// No job is revoked before this time. `None`: there was no jump yet.
    quiet_until: Option<Instant>,
}

impl Clocks {
    /// Compares both clocks. If they disagree, or this round is late, renews all jobs that this
    /// dispatcher holds. Returns whether expired leases can be trusted, so that sweeping is safe.
    pub(super) async fn agree(&mut self, core: &Core) -> Result<bool> {
        let before = Instant::now();
        let stored = core.store.call(|store| store.now()).await?;
        let now = ClockReading {
            stored,
            before,
            after: Instant::now(),
        };
        if let Some(last) = self.seen.replace(now) {
            if now.has_jumped(&last) {
                self.renew = true;
                self.quiet_until = Some(now.after + QUIET);
            }
            let late = now.before.duration_since(last.after);
            self.renew |= late > core.config.sweep + core.config.renew_at();
        }
        if self.renew {
            renew(core).await?;
            self.renew = false;
        }
        Ok(self.quiet_until.is_none_or(|until| until <= now.after))
    }
}

impl ClockReading {
    /// Whether the store's clock advanced by more or less than this process's since `last`.
    fn has_jumped(&self, last: &Self) -> bool {
        let least = self.before.saturating_duration_since(last.after);
        let most = self.after.duration_since(last.before);
        let passed = self.stored.since(last.stored);
        let back = last.stored.since(self.stored);
        passed > most + TOLERANCE || passed + TOLERANCE < least || back > TOLERANCE
    }
}

/// Rounds that renew all held jobs: the maintain loop asks for them, the lease loop makes them.
#[derive(Debug, Default)]
pub(super) struct Renewals {
    /// The number of the last round asked for; set by `ask`.
    asked: AtomicU64,
    /// The number of the last round made; set by the lease loop.
    made: AtomicU64,
    /// Wakes the lease loop: a round was asked for.
    wake: Notify,
    /// Wakes the maintain loop: a round was made.
    news: Notify,
}

impl Renewals {
    /// Asks for a round; returns its number.
    pub(super) fn ask(&self) -> u64 {
        let round = 1 + self.asked.fetch_add(1, SeqCst);
        self.wake.notify_one();
        round
    }

    /// Returns when a round was asked for.
    pub(super) async fn wanted(&self) {
        self.wake.notified().await;
    }

    /// The last round asked for, if it was not made yet.
    pub(super) fn open(&self) -> Option<u64> {
        let asked = self.asked.load(SeqCst);
        (asked > self.made.load(SeqCst)).then_some(asked)
    }

    /// Notes that this round and all before it were made.
    pub(super) fn made(&self, round: u64) {
        self.made.fetch_max(round, SeqCst);
        self.news.notify_waiters();
    }

    /// Returns once this round was made.
    pub(super) async fn done(&self, round: u64) {
        loop {
            let news = self.news.notified();
            if self.made.load(SeqCst) >= round {
                return;
            }
            news.await;
        }
    }
}

/// Has the lease loop renew all held jobs and waits until it has.
async fn renew(core: &Core) -> Result<()> {
    let round = core.renewals.ask();
    let done = core.renewals.done(round);
    timeout(core.config.renew_at(), done).await.map_err(|_| {
        let text = "jobs are not renewed, so nobody else's are looked at";
        Error::new(ErrorKind::Timeout, text)
    })
}
