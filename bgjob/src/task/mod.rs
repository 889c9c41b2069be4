//! Where tasks are started: one place, so that a simulation can stop and end all of one process.

#[cfg(feature = "testing")]
mod process;

use std::future::Future;

use tokio::task::{JoinHandle, JoinSet};

#[cfg(feature = "testing")]
pub(crate) use process::{Process, Within, is_simulated, kill_this, note};

/// Starts a task of this process.
#[cfg(feature = "testing")]
pub(crate) fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    let handle = tokio::spawn(Within::this(future));
    note(handle.abort_handle());
    handle
}

/// The same, as one of a set.
#[cfg(feature = "testing")]
pub(crate) fn spawn_in<F>(set: &mut JoinSet<F::Output>, future: F)
where
    F: Future<Output: Send> + Send + 'static,
{
    note(set.spawn(Within::this(future)));
}

/// Starts a task.
#[cfg(not(feature = "testing"))]
pub(crate) fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    tokio::spawn(future)
}

/// The same, as one of a set.
#[cfg(not(feature = "testing"))]
pub(crate) fn spawn_in<F>(set: &mut JoinSet<F::Output>, future: F)
where
    F: Future<Output: Send> + Send + 'static,
{
    set.spawn(future);
}

/// Whether a simulated process runs this.
#[cfg(not(feature = "testing"))]
pub(crate) const fn is_simulated() -> bool {
    false
}
