//! [`Locked`]: takes the lock of a mutex, whatever its holders did.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Takes the lock of a mutex even if a holder panicked. A panic while a lock is held is a bug of
/// one call; the other callers should still get their jobs.
pub trait Locked<T> {
    /// Waits for the lock and takes it.
    fn locked(&self) -> MutexGuard<'_, T>;
}

impl<T> Locked<T> for Mutex<T> {
    fn locked(&self) -> MutexGuard<'_, T> {
        self.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
