//! [`Clocks`]: whether time went on evenly between two rounds of upkeep. A laptop that slept, a
//! process that was stopped or a clock that was set makes leases look as if they had run out, this
//! dispatcher's own among them.

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

/// The store's clock may be off by so much from one round to the next.
const TOLERANCE: Duration = Duration::from_secs(1);
/// After a jump nobody is revoked for so long: each dispatcher notices it in its next round of
/// upkeep, four seconds later at most, and renews what it holds.
const QUIET: Duration = Duration::from_secs(6);

/// The time by both clocks at the last round; this process' own from before and after the call.
#[derive(Debug, Clone, Copy)]
struct Seen {
    stored: Timestamp,
    before: Instant,
    after: Instant,
}

/// What a round has to know of the rounds before.
#[derive(Debug, Default)]
pub(super) struct Clocks {
    seen: Option<Seen>,
    /// Own jobs are to be renewed before anybody's are revoked.
    renew: bool,
    quiet_until: Option<Instant>,
}

impl Clocks {
    /// Looks at both clocks, and renews what this dispatcher holds where they don't agree. Answers
    /// whether leases that have run out are to be believed.
    pub(super) async fn agree(&mut self, core: &Core) -> Result<bool> {
        let before = Instant::now();
        let stored = core.store_call(|| core.store.now()).await?;
        let now = Seen {
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

impl Seen {
    /// Whether the store's clock went on by more or less than this process' own since then.
    fn has_jumped(&self, last: &Self) -> bool {
        let least = self.before.saturating_duration_since(last.after);
        let most = self.after.duration_since(last.before);
        let passed = self.stored.since(last.stored);
        let back = last.stored.since(self.stored);
        passed > most + TOLERANCE || passed + TOLERANCE < least || back > TOLERANCE
    }
}

/// Rounds of renewing all that is held, asked for by upkeep and made by the lease loop.
#[derive(Debug, Default)]
pub(super) struct Renewals {
    asked: AtomicU64,
    made: AtomicU64,
    /// Wakes the lease loop.
    wake: Notify,
    /// Tells of a round that was made.
    news: Notify,
}

impl Renewals {
    /// Asks for a round; answers its number.
    pub(super) fn ask(&self) -> u64 {
        let round = 1 + self.asked.fetch_add(1, SeqCst);
        self.wake.notify_one();
        round
    }

    /// Returns when one was asked for.
    pub(super) async fn wanted(&self) {
        self.wake.notified().await;
    }

    /// The last round that was asked for, if it was not made yet.
    pub(super) fn open(&self) -> Option<u64> {
        let asked = self.asked.load(SeqCst);
        (asked > self.made.load(SeqCst)).then_some(asked)
    }

    /// This round was made, and all before it.
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

/// Has the lease loop renew all that is held, and waits for it.
async fn renew(core: &Core) -> Result<()> {
    let round = core.renewals.ask();
    let done = core.renewals.done(round);
    timeout(core.config.renew_at(), done).await.map_err(|_| {
        let text = "jobs are not renewed, so nobody else's are looked at";
        Error::new(ErrorKind::Timeout, text)
    })
}
