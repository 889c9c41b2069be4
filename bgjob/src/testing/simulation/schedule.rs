//! [`Schedule`]: what happened in a run, and a hash by which two runs are compared.

use std::{
    fmt::{self, Write},
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use tokio::time::Instant;

use crate::lock::Locked;

/// The most lines that are kept. Later ones are only counted.
const LINES: usize = 4000;

#[derive(Debug)]
pub(super) struct Schedule {
    start: Instant,
    inner: Mutex<ScheduleState>,
}

#[derive(Debug, Default)]
struct ScheduleState {
    lines: Vec<(Duration, String, String)>,
    left_out: usize,
    hash: DefaultHasher,
}

impl Schedule {
    pub(super) fn new() -> Self {
        Self {
            start: Instant::now(),
            inner: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, ScheduleState> {
        self.inner.locked()
    }

    /// Simulated time since the run began.
    pub(super) fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// Notes what a process did, or what happened to it.
    pub(super) fn note(&self, who: &str, what: impl fmt::Display) {
        let now = self.now();
        let what = what.to_string();
        let mut inner = self.lock();
        (now, who, &what).hash(&mut inner.hash);
        if inner.lines.len() < LINES {
            inner.lines.push((now, who.to_owned(), what));
        } else {
            inner.left_out += 1;
        }
    }

    /// Adds to the hash what a reader does not need and a repeated run must repeat.
    pub(super) fn mix(&self, what: impl Hash) {
        let now = self.now();
        (now, what).hash(&mut self.lock().hash);
    }

    pub(super) fn hash(&self) -> u64 {
        self.lock().hash.finish()
    }

    pub(super) fn lines(&self) -> usize {
        let inner = self.lock();
        inner.lines.len() + inner.left_out
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = self.lock();
        let mut text = String::new();
        for (at, who, what) in &inner.lines {
            let at = at.as_secs_f64();
            writeln!(text, "{at:>10.3} s  {who:<10} {what}")?;
        }
        f.write_str(&text)?;
        match inner.left_out {
            0 => Ok(()),
            more => writeln!(f, "… and {more} more"),
        }
    }
}
