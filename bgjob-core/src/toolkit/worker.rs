//! A thread with an inbox.

use std::{
    fmt,
    sync::mpsc::{Receiver, Sender, channel},
    thread::{Builder, JoinHandle},
};

use crate::{Error, ErrorKind, Result};

/// The handle of a thread. Dropping the handle ends the thread and waits for that, so that a
/// database is closed, and its file free, once its store is gone.
pub struct Worker<M> {
    /// `None` only during the drop: closing the inbox tells the thread to end.
    inbox: Option<Sender<M>>,
    thread: Option<JoinHandle<()>>,
}

impl<M: Send + 'static> Worker<M> {
    /// Starts a thread that runs until its inbox is closed.
    pub fn start(name: &str, work: impl FnOnce(Receiver<M>) + Send + 'static) -> Result<Self> {
        let (sender, inbox) = channel();
        let thread = Builder::new()
            .name(name.into())
            .spawn(move || work(inbox))
            .map_err(|e| {
                Error::new(ErrorKind::Unavailable, "can't start a thread for the store").because(e)
            })?;
        Ok(Self {
            inbox: Some(sender),
            thread: Some(thread),
        })
    }

    /// Sends the thread a message.
    pub fn send(&self, message: M) -> Result<()> {
        let closed = || Error::new(ErrorKind::Closed, "a thread of the store has ended");
        self.inbox
            .as_ref()
            .and_then(|inbox| inbox.send(message).ok())
            .ok_or_else(closed)
    }
}

impl<M> fmt::Debug for Worker<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self
            .thread
            .as_ref()
            .and_then(|thread| thread.thread().name());
        f.debug_tuple("Worker").field(&name).finish()
    }
}

impl<M> Drop for Worker<M> {
    fn drop(&mut self) {
        self.inbox = None;
        if let Some(thread) = self.thread.take() {
            // If the thread panicked, its callers know already.
            let _ = thread.join();
        }
    }
}
