//! [`Link`]: a provider, as the dispatcher calls it.

use std::{future::Future, sync::Arc, time::Duration};

use crate::{
    Error, ErrorKind, Result,
    calls::{contained, within},
    events::{Breaker, Events, Part},
};

/// The store or the queue, with its breaker. A panic of a call becomes an error.
pub(super) struct Link<S: ?Sized> {
    provider: Arc<S>,
    part: Part,
    events: Events,
    /// Whether the provider works. The loops that call it report here; `health` reads it.
    breaker: Breaker,
}

impl<S: ?Sized> Link<S> {
    /// The longest a call may take before it counts as failed.
    const CALL: Duration = Breaker::CALL;

    pub(super) fn new(provider: Arc<S>, part: Part, events: &Events) -> Self {
        Self {
            provider,
            part,
            events: events.clone(),
            breaker: Breaker::new(part, events.clone()),
        }
    }

    pub(super) fn provider(&self) -> &S {
        &self.provider
    }

    /// A call with a time limit. A call that is not answered in time may have worked.
    pub(super) async fn call<'a, T, F>(&'a self, call: impl FnOnce(&'a S) -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let answer = within(Self::CALL, self.unlimited(call)).await;
        answer.unwrap_or_else(|| {
            let text = format!("no answer within {:?}", Self::CALL);
            Err(Error::new(ErrorKind::Timeout, text))
        })
    }

    /// A call without a time limit: a wait, or a call that its caller limits.
    pub(super) async fn unlimited<'a, T, F>(&'a self, call: impl FnOnce(&'a S) -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        contained(&self.events, self.part, || call(&self.provider)).await
    }

    /// Notes a failure. Returns how long to wait before the next try.
    pub(super) fn failed(&self, error: &Error) -> Duration {
        self.breaker.failed(error)
    }

    /// Notes a success.
    pub(super) fn worked(&self) {
        self.breaker.worked();
    }

    /// How long the provider has been down. `None`: it works.
    pub(super) fn down_for(&self) -> Option<Duration> {
        self.breaker.down_for()
    }
}
