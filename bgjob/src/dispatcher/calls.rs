//! Calls to providers. Their panics stay inside, as errors: what was handed to them is not lost.

use std::future::Future;

use super::core::{Config, Core};
use crate::{
    Error, ErrorKind, Result,
    error::caught,
    events::{Event, Events, Part},
    manager::within,
};

impl Core {
    /// A call to the store with an end: what is not answered in time may still have happened.
    pub(super) async fn store_call<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        bounded(contained(&self.events, Part::Store, call)).await
    }

    /// The same to the queue.
    pub(super) async fn queue_call<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        bounded(contained(&self.events, Part::Queue, call)).await
    }

    /// A wait for the store, without an end.
    pub(super) async fn store_wait<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        contained(&self.events, Part::Store, call).await
    }
}

async fn bounded<T>(call: impl Future<Output = Result<T>>) -> Result<T> {
    within(Config::CALL, call).await.unwrap_or_else(|| {
        let text = format!("no answer within {:?}", Config::CALL);
        Err(Error::new(ErrorKind::Timeout, text))
    })
}

/// What the panic said is left to the panic hook: it may be what no log should have.
async fn contained<T>(
    events: &Events,
    part: Part,
    call: impl Future<Output = Result<T>>,
) -> Result<T> {
    caught(call).await.unwrap_or_else(|_| {
        events.emit(Event::CallPanicked { part });
        Err(Error::new(
            ErrorKind::Internal,
            format!("a call to the {part} panicked"),
        ))
    })
}
