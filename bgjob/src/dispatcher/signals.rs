//! [`Signals`]: the system's requests to end, and [`shutdown_signal`], which waits for one.

use std::future::Future;

use crate::Result;
#[cfg(any(unix, windows))]
use crate::{Error, ErrorKind};

#[cfg(unix)]
pub(super) use unix::Signals;
#[cfg(windows)]
pub(super) use windows::Signals;

/// Returns at a SIGTERM or Ctrl-C (on Windows: Ctrl-C, Ctrl-Break, or the closing of the console).
/// For a program that has more to stop than its dispatcher, such as a web server.
///
/// The function listens from the call on, even while its future is not polled: a signal that comes
/// before the first poll is not lost. As long as the future lives and waits, these signals don't
/// end the process. Afterwards they do, as by default, unless another part of bgjob listens:
/// [`DispatcherHandle::until_signal`], [`DispatcherBuilder::run`], or another future of this
/// function. Each signal reaches all futures that wait.
///
/// ```no_run
/// use std::future::Future;
///
/// use bgjob::prelude::*;
/// # async fn serve(until: impl Future) { until.await; }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> bgjob::Result<()> {
/// // Before the first claim: a signal that ends the process would count as a crash of each job
/// // that the process holds.
/// let signal = bgjob::shutdown_signal();
/// let jobs = JobManager::connect("memory:").await?;
/// let dispatcher = JobDispatcher::builder(&jobs).start().await?;
///
/// serve(signal).await; // a web server, with its graceful shutdown
/// dispatcher.shutdown().await;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// `Internal` if listening for signals fails.
///
/// # Panics
/// If it is called outside a tokio runtime.
///
/// # Cancel safety
/// Dropping the future ends the listening; a signal that came before is lost.
///
/// [`DispatcherHandle::until_signal`]: crate::DispatcherHandle::until_signal
/// [`DispatcherBuilder::run`]: crate::DispatcherBuilder::run
#[must_use = "without an await it only keeps signals from ending the process"]
pub fn shutdown_signal() -> impl Future<Output = Result<()>> + Send + 'static {
    let signals = Signals::listen();
    async move { signals?.next().await }
}

#[cfg(any(unix, windows))]
fn refused(error: std::io::Error) -> Error {
    Error::new(ErrorKind::Internal, "signals can't be listened to").because(error)
}

#[cfg(unix)]
mod unix {
    use std::sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering::SeqCst},
    };

    use signal_hook::{
        consts::{SIGINT, SIGTERM},
        flag::register_conditional_default,
    };
    use tokio::signal::unix::{Signal, SignalKind, signal};

    use super::{Result, refused};
    use crate::lock::Locked;

    /// SIGTERM and Ctrl-C, from the moment this is created: a signal that arrives before `next` is
    /// called is kept. Once no `Signals` is left in the process, they act as they do by default.
    pub(in crate::dispatcher) struct Signals {
        terminate: Signal,
        interrupt: Signal,
        _heard: Heard,
    }

    impl Signals {
        /// Begins to listen. From now on these signals don't end the process.
        pub(in crate::dispatcher) fn listen() -> Result<Self> {
            Ok(Self {
                _heard: Heard::new()?,
                terminate: signal(SignalKind::terminate()).map_err(refused)?,
                interrupt: signal(SignalKind::interrupt()).map_err(refused)?,
            })
        }

        /// Returns at the next signal.
        pub(in crate::dispatcher) async fn next(&mut self) -> Result<()> {
            tokio::select! {
                _ = self.terminate.recv() => {}
                _ = self.interrupt.recv() => {}
            }
            Ok(())
        }
    }

    /// Counts one listener.
    struct Heard;

    /// The number of listeners, and the flag that lets the signals end the process while there are
    /// none. An installed signal handler can't be removed, so it reads this flag instead.
    static LISTENERS: Mutex<(usize, Option<Arc<AtomicBool>>)> = Mutex::new((0, None));

    fn listeners() -> MutexGuard<'static, (usize, Option<Arc<AtomicBool>>)> {
        LISTENERS.locked()
    }

    impl Heard {
        fn new() -> Result<Self> {
            let mut listeners = listeners();
            let ends = match &listeners.1 {
                Some(ends) => Arc::clone(ends),
                None => {
                    let ends = Arc::new(AtomicBool::new(false));
                    for signal in [SIGTERM, SIGINT] {
                        register_conditional_default(signal, Arc::clone(&ends)).map_err(refused)?;
                    }
                    listeners.1 = Some(Arc::clone(&ends));
                    ends
                }
            };
            listeners.0 += 1;
            ends.store(false, SeqCst);
            Ok(Self)
        }
    }

    impl Drop for Heard {
        fn drop(&mut self) {
            let mut listeners = listeners();
            listeners.0 -= 1;
            if let (0, Some(ends)) = &*listeners {
                ends.store(true, SeqCst);
            }
        }
    }
}

#[cfg(windows)]
mod windows {
    use tokio::signal::windows::{
        CtrlBreak, CtrlC, CtrlClose, CtrlShutdown, ctrl_break, ctrl_c, ctrl_close, ctrl_shutdown,
    };

    use super::{Result, refused};

    /// Ctrl-C, Ctrl-Break, closing of the console and system shutdown, from the moment this is
    /// created.
    pub(in crate::dispatcher) struct Signals {
        c: CtrlC,
        r#break: CtrlBreak,
        close: CtrlClose,
        shutdown: CtrlShutdown,
    }

    impl Signals {
        /// Begins to listen. From now on none of them ends the process.
        pub(in crate::dispatcher) fn listen() -> Result<Self> {
            Ok(Self {
                c: ctrl_c().map_err(refused)?,
                r#break: ctrl_break().map_err(refused)?,
                close: ctrl_close().map_err(refused)?,
                shutdown: ctrl_shutdown().map_err(refused)?,
            })
        }

        /// Returns at the next signal.
        pub(in crate::dispatcher) async fn next(&mut self) -> Result<()> {
            tokio::select! {
                _ = self.c.recv() => {}
                _ = self.r#break.recv() => {}
                _ = self.close.recv() => {}
                _ = self.shutdown.recv() => {}
            }
            Ok(())
        }
    }
}

/// This platform has no signals: `next` never returns.
#[cfg(not(any(unix, windows)))]
pub(super) struct Signals;

#[cfg(not(any(unix, windows)))]
impl Signals {
    pub(super) fn listen() -> Result<Self> {
        Ok(Self)
    }

    pub(super) async fn next(&mut self) -> Result<()> {
        std::future::pending().await
    }
}
