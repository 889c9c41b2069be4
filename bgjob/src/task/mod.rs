//! Where tasks are started: one place, so that a simulation can stop and end all of one process.

#[cfg(feature = "testing")]
mod process;
mod threads;

use std::future::Future;

use tokio::{
    runtime::Handle,
    task::{JoinHandle, JoinSet},
};

#[cfg(feature = "testing")]
pub(crate) use process::{Process, Within, is_simulated, kill_this, note};
pub(crate) use threads::on_thread;

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

/// Starts a task of this process in a runtime that may be another one, and may have ended: then
/// the future is dropped.
#[cfg(feature = "testing")]
pub(crate) fn spawn_on<F>(runtime: &Handle, future: F)
where
    F: Future<Output: Send> + Send + 'static,
{
    note(runtime.spawn(Within::this(future)).abort_handle());
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

/// Starts a task in a runtime that may be another one, and may have ended: then the future is
/// dropped.
#[cfg(not(feature = "testing"))]
pub(crate) fn spawn_on<F>(runtime: &Handle, future: F)
where
    F: Future<Output: Send> + Send + 'static,
{
    drop(runtime.spawn(future));
}

/// Whether a simulated process runs this.
#[cfg(not(feature = "testing"))]
pub(crate) const fn is_simulated() -> bool {
    false
}

/// Paused time stands still as long as this is there. It is for code on a thread of its own, of
/// which a runtime knows nothing.
#[cfg(feature = "testing")]
pub(crate) fn hold_time() -> impl Send {
    let (held, gone) = std::sync::mpsc::channel::<()>();
    if tokio::runtime::Handle::try_current().is_ok() {
        // A runtime whose time is paused lets none pass while it has a thread at work.
        drop(tokio::task::spawn_blocking(move || gone.recv()));
    }
    held
}

/// Time is not paused here.
#[cfg(not(feature = "testing"))]
pub(crate) const fn hold_time() -> impl Send {}
