//! Starts the tasks of a process in one place, so that a simulation can stop and end all of them.

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

/// Starts a task of this process in a set.
#[cfg(feature = "testing")]
pub(crate) fn spawn_in<F>(set: &mut JoinSet<F::Output>, future: F)
where
    F: Future<Output: Send> + Send + 'static,
{
    note(set.spawn(Within::this(future)));
}

/// Starts a task of this process in this runtime, which need not be the current one. If the runtime
/// has ended, the future is dropped.
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

/// Starts a task in a set.
#[cfg(not(feature = "testing"))]
pub(crate) fn spawn_in<F>(set: &mut JoinSet<F::Output>, future: F)
where
    F: Future<Output: Send> + Send + 'static,
{
    set.spawn(future);
}

/// Starts a task in this runtime, which need not be the current one. If the runtime has ended, the
/// future is dropped.
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

/// Stops paused time from advancing until the returned guard is dropped. For code on a separate
/// thread, which a runtime does not know about.
#[cfg(feature = "testing")]
pub(crate) fn hold_time() -> impl Send {
    let (held, gone) = std::sync::mpsc::channel::<()>();
    if tokio::runtime::Handle::try_current().is_ok() {
        // A runtime with paused time does not advance it while one of its blocking threads works.
        drop(tokio::task::spawn_blocking(move || gone.recv()));
    }
    held
}

/// Time is not paused here.
#[cfg(not(feature = "testing"))]
pub(crate) const fn hold_time() -> impl Send {}
