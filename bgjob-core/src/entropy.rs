//! All randomness bgjob uses, from one place.

use std::{
    cell::RefCell,
    time::{Duration, SystemTime},
};

thread_local! {
    /// The seeded source of a simulated process, whose randomness is the same each time.
    #[cfg(feature = "testing")]
    static SEEDED: RefCell<Option<fastrand::Rng>> = const { RefCell::new(None) };
    static POOL: RefCell<Pool> = const { RefCell::new(Pool::new()) };
}

/// Random bytes that were fetched and not yet given out.
#[derive(Debug, Clone)]
struct Pool {
    bytes: Vec<u8>,
    at: usize,
    /// The process that fetched the bytes: a forked child has a copy, and must not give out the
    /// same bytes.
    process: u32,
    /// When the process was last checked.
    looked: Option<SystemTime>,
}

impl Pool {
    /// Bytes fetched from the operating system at a time: one system call for a few hundred ids.
    const SIZE: usize = 4096;
    /// A fork takes longer than this: a caller that checked this recently is still the same
    /// process.
    const FORK: Duration = Duration::from_micros(20);

    const fn new() -> Self {
        Self {
            bytes: Vec::new(),
            at: 0,
            process: 0,
            looked: None,
        }
    }

    /// Bytes that no other caller gets, in this process.
    fn draw<const N: usize>(&mut self, process: u32) -> [u8; N] {
        if self.at + N > self.bytes.len() || self.process != process {
            self.bytes.resize(Self::SIZE, 0);
            getrandom::fill(&mut self.bytes).expect("the operating system has random bytes");
            (self.at, self.process) = (0, process);
        }
        let drawn = &mut self.bytes[self.at..self.at + N];
        let mut out = [0; N];
        out.copy_from_slice(drawn);
        drawn.fill(0);
        self.at += N;
        out
    }

    /// The same, but calls `process`, which is a system call, only if the last check is too old.
    fn draw_at<const N: usize>(&mut self, now: SystemTime, process: impl Fn() -> u32) -> [u8; N] {
        let since = self
            .looked
            .and_then(|looked| now.duration_since(looked).ok());
        if since.is_some_and(|since| since < Self::FORK) {
            return self.draw(self.process);
        }
        self.looked = Some(now);
        self.draw(process())
    }
}

/// `N` random bytes, fit for tokens.
#[doc(hidden)]
pub fn bytes<const N: usize>() -> [u8; N] {
    #[cfg(feature = "testing")]
    if let Some(bytes) = seeded_bytes() {
        return bytes;
    }
    POOL.with_borrow_mut(|pool| pool.draw(process()))
}

/// The same for callers that draw many. `now` is the host's time.
#[doc(hidden)]
pub fn bytes_at<const N: usize>(now: SystemTime) -> [u8; N] {
    #[cfg(feature = "testing")]
    if let Some(bytes) = seeded_bytes() {
        return bytes;
    }
    POOL.with_borrow_mut(|pool| pool.draw_at(now, process))
}

/// The id of this process; 0 where there are no processes.
fn process() -> u32 {
    if cfg!(target_family = "wasm") {
        0
    } else {
        std::process::id()
    }
}

/// A random number in `0.0..1.0`, for jitter.
#[doc(hidden)]
pub fn unit() -> f64 {
    let bits = u64::from_le_bytes(bytes::<8>()) >> 11;
    bits as f64 / (1_u64 << 53) as f64
}

/// Draws from this seeded source on this thread from now on. Returns the one before.
#[cfg(feature = "testing")]
#[doc(hidden)]
pub fn swap(source: Option<fastrand::Rng>) -> Option<fastrand::Rng> {
    SEEDED.replace(source)
}

#[cfg(feature = "testing")]
fn seeded_bytes<const N: usize>() -> Option<[u8; N]> {
    SEEDED.with_borrow_mut(|source| {
        let mut out = [0; N];
        source.as_mut()?.fill(&mut out);
        Some(out)
    })
}

/// Whether this thread runs a simulated process, whose randomness is the same each time.
#[doc(hidden)]
pub fn is_seeded() -> bool {
    #[cfg(feature = "testing")]
    return SEEDED.with_borrow(Option::is_some);
    #[cfg(not(feature = "testing"))]
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The effect of a fork: the same memory in another process.
    #[test]
    fn forked_children_draw_other_bytes() {
        let mut parent = Pool::new();
        parent.draw::<8>(1);
        let (mut one, mut other) = (parent.clone(), parent.clone());
        let drawn = [parent.draw::<16>(1), one.draw(2), other.draw(3)];
        assert!(drawn[0] != drawn[1] && drawn[1] != drawn[2] && drawn[0] != drawn[2]);
    }

    #[test]
    fn it_is_looked_who_draws_before_a_fork_can_have_been() {
        let now = crate::clock::host();
        let mut parent = Pool::new();
        parent.draw_at::<8>(now, || 1);
        let mut child = parent.clone();
        // No fork can have happened since: the system is not asked.
        parent.draw_at::<8>(now + Pool::FORK / 2, || unreachable!());
        let later = now + Pool::FORK;
        assert_ne!(parent.draw_at::<8>(later, || 1), child.draw_at(later, || 2));
        // Clocks go back, too.
        let mut child = parent.clone();
        assert_ne!(parent.draw_at::<8>(now, || 1), child.draw_at(now, || 2));
    }
}
