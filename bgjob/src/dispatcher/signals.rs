//! [`Signals`]: what the system asks for.

use crate::Result;
#[cfg(not(target_family = "wasm"))]
use crate::{Error, ErrorKind};

#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGTERM and Ctrl-C, heard from when this was made: what comes before somebody waits for it
/// waits too.
#[cfg(unix)]
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

#[cfg(unix)]
impl Signals {
    /// Begins to listen: from now on a signal does not end the process.
    pub(super) fn listen() -> Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate()).map_err(refused)?,
            interrupt: signal(SignalKind::interrupt()).map_err(refused)?,
        })
    }

    /// Returns at the next one.
    pub(super) async fn next(&mut self) -> Result<()> {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
        Ok(())
    }
}

/// Ctrl-C, heard while somebody waits for it.
#[cfg(not(any(unix, target_family = "wasm")))]
pub(super) struct Signals;

#[cfg(not(any(unix, target_family = "wasm")))]
impl Signals {
    pub(super) fn listen() -> Result<Self> {
        Ok(Self)
    }

    pub(super) async fn next(&mut self) -> Result<()> {
        tokio::signal::ctrl_c().await.map_err(refused)
    }
}

#[cfg(not(target_family = "wasm"))]
fn refused(error: std::io::Error) -> Error {
    Error::new(ErrorKind::Internal, "signals can't be listened to").because(error)
}

/// There are no signals here: runs for ever.
#[cfg(target_family = "wasm")]
pub(super) struct Signals;

#[cfg(target_family = "wasm")]
impl Signals {
    pub(super) fn listen() -> Result<Self> {
        Ok(Self)
    }

    pub(super) async fn next(&mut self) -> Result<()> {
        std::future::pending().await
    }
}
