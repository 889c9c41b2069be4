//! [`State`]: a service that the dispatcher was given.

use std::{any::Any, fmt, ops::Deref, sync::Arc};

use super::{FromContext, JobContext, Needs, needs};
use crate::{Error, ErrorKind};

/// A service that the dispatcher was given with `.state(…)`, found by its type. Cheap to clone.
///
/// ```
/// use bgjob::prelude::*;
///
/// struct Mailer;
/// # impl Mailer { async fn send(&self, _: &str) {} }
///
/// #[job]
/// async fn state_greet(email: String, mailer: State<Mailer>) {
///     mailer.send(&email).await;
/// }
///
/// // In a test the function is called with a service of its own.
/// # let _ =
/// state_greet("a@b.c".into(), State::new(Mailer))
/// # ;
/// ```
pub struct State<T>(Arc<T>);

impl<T> State<T> {
    /// Wraps a service, so that a test can call a handler with it.
    pub fn new(service: impl Into<Arc<T>>) -> Self {
        Self(service.into())
    }

    /// The service itself, shared.
    pub fn into_inner(self) -> Arc<T> {
        self.0
    }
}

impl<T: Any + Send + Sync> FromContext for State<T> {
    type Error = Error;

    async fn from_context(ctx: &JobContext) -> Result<Self, Error> {
        ctx.service().map(Self).ok_or_else(|| {
            let advice = needs::advice(std::any::type_name::<T>());
            Error::new(
                ErrorKind::NotFound,
                format!("the dispatcher has no {advice}"),
            )
        })
    }

    fn needs(needs: &mut Needs) {
        needs.service::<T>();
    }
}

impl<T> Deref for State<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> Clone for State<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: fmt::Debug> fmt::Debug for State<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("State").field(&self.0).finish()
    }
}
