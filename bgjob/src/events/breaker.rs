//! [`Breaker`]: whether a store or a queue works.

use std::{
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use tokio::time::Instant;

use super::{Event, Events, Part};
use crate::lock::Locked;
use crate::{Error, ErrorKind};

/// Tracks whether a part works. Emits one event when it goes down and one when it is up again.
#[derive(Debug)]
pub(crate) struct Breaker {
    part: Part,
    events: Events,
    state: Mutex<BreakerState>,
}

#[derive(Debug, Default)]
struct BreakerState {
    /// Set by a failure, cleared by a success.
    down: Option<Down>,
    /// When a call last succeeded.
    worked: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Down {
    since: Instant,
    failures: u32,
}

impl Breaker {
    /// The longest a call to a part may take before it is given up.
    pub(crate) const CALL: Duration = Duration::from_secs(10);
    /// The first wait after a failure.
    const WAIT: Duration = Duration::from_millis(50);

    pub(crate) fn new(part: Part, events: Events) -> Self {
        Self {
            part,
            events,
            state: Mutex::default(),
        }
    }

    /// Notes a failure. Returns how long to wait before the next try: 50 ms, doubled with each
    /// failure up to 5 s, jittered.
    pub(crate) fn failed(&self, error: &Error) -> Duration {
        let failures = {
            let mut state = self.state();
            // This call timed out, but it began before another call worked: the part is not down.
            let worked = state.worked.is_some_and(|at| at.elapsed() < Self::CALL);
            if worked && state.down.is_none() && error.kind() == ErrorKind::Timeout {
                return Self::WAIT;
            }
            let down = state.down.get_or_insert(Down {
                since: Instant::now(),
                failures: 0,
            });
            down.failures = down.failures.saturating_add(1);
            down.failures
        };
        if failures == 1 {
            self.events.emit(Event::Down {
                part: self.part,
                error,
            });
        }
        let wait = Self::WAIT * 2_u32.pow(failures.min(8) - 1);
        wait.min(Duration::from_secs(5))
            .mul_f64(0.5 + crate::entropy::unit() / 2.0)
    }

    /// Notes a success.
    pub(crate) fn worked(&self) {
        let down = {
            let mut state = self.state();
            state.worked = Some(Instant::now());
            state.down.take()
        };
        if let Some(down) = down {
            self.events.emit(Event::Up {
                part: self.part,
                after: down.since.elapsed(),
            });
        }
    }

    /// How long the part has been down; `None` if it works.
    pub(crate) fn down_for(&self) -> Option<Duration> {
        self.state().down.map(|down| down.since.elapsed())
    }

    fn state(&self) -> MutexGuard<'_, BreakerState> {
        self.state.locked()
    }
}
