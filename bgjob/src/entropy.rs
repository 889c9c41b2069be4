//! All randomness bgjob uses, from one place.

use std::cell::RefCell;

/// Bytes asked from the operating system at a time: one system call a few hundred ids.
const POOL: usize = 4096;

thread_local! {
    /// Where randomness is to be the same each time: a simulated process.
    #[cfg(feature = "testing")]
    static SEEDED: RefCell<Option<fastrand::Rng>> = const { RefCell::new(None) };
    static BYTES: RefCell<(Vec<u8>, usize)> = const { RefCell::new((Vec::new(), 0)) };
}

/// `N` random bytes, fit for tokens.
pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    #[cfg(feature = "testing")]
    if let Some(bytes) = seeded_bytes() {
        return bytes;
    }
    BYTES.with_borrow_mut(|(pool, at)| {
        if *at + N > pool.len() {
            pool.resize(POOL, 0);
            getrandom::fill(pool).expect("the operating system has random bytes");
            *at = 0;
        }
        let mut out = [0; N];
        out.copy_from_slice(&pool[*at..*at + N]);
        pool[*at..*at + N].fill(0);
        *at += N;
        out
    })
}

/// A random number in `0.0..1.0`, for jitter.
pub(crate) fn unit() -> f64 {
    let bits = u64::from_le_bytes(bytes::<8>()) >> 11;
    bits as f64 / (1_u64 << 53) as f64
}

/// Draws from this seeded source on this thread from now on; answers the one before.
#[cfg(feature = "testing")]
pub(crate) fn swap(source: Option<fastrand::Rng>) -> Option<fastrand::Rng> {
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

/// Whether this thread's randomness is the same each time: a simulated process runs on it.
pub(crate) fn is_seeded() -> bool {
    #[cfg(feature = "testing")]
    return SEEDED.with_borrow(Option::is_some);
    #[cfg(not(feature = "testing"))]
    false
}
