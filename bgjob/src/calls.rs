//! Calls to providers: limits their time and catches their panics.

use std::{
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    task::Poll,
    time::Duration,
};

use tokio::{runtime::Handle, time::timeout};

use crate::{
    Error, ErrorKind, Result,
    events::{Event, Events, Part},
};
use bgjob_core::panic_text;

/// Returns the answer of a call; `None` if it takes longer than `span`. A call that is ready at its
/// first poll, as those of stores in memory are, pays for no timer. Without a tokio runtime there
/// is no timer and so no limit.
pub(crate) async fn within<T>(span: Duration, call: impl Future<Output = T>) -> Option<T> {
    let mut call = pin!(call);
    match poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx))).await {
        Poll::Ready(answer) => Some(answer),
        Poll::Pending if Handle::try_current().is_err() => Some(call.await),
        Poll::Pending => timeout(span, call).await.ok(),
    }
}

/// Returns the answer of a call. A panic of the call is emitted as an event and becomes an error,
/// so that the caller does not lose what it holds. The panic's message is left to the panic hook,
/// as it may contain what no log should have.
pub(crate) async fn contained<T, F>(
    events: &Events,
    part: Part,
    call: impl FnOnce() -> F,
) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    // This also catches panics before `call` returns its future.
    let call = async { call().await };
    caught(call).await.unwrap_or_else(|_| {
        events.emit(Event::CallPanicked { part });
        let text = format!("a call to the {part} panicked");
        Err(Error::new(ErrorKind::Internal, text))
    })
}

/// Returns the output of a future, or the message of its panic. After a panic the future is not
/// polled again. Cancel-safe if the future is.
pub(crate) async fn caught<T>(future: impl Future<Output = T>) -> Result<T, String> {
    let mut future = pin!(future);
    poll_fn(
        |cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
            Ok(polled) => polled.map(Ok),
            Err(panic) => Poll::Ready(Err(panic_text(&*panic))),
        },
    )
    .await
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use super::*;

    async fn panics(when: u8) -> Result<()> {
        contained(&Events::default(), Part::Store, || {
            assert!(when > 0, "before there is a future");
            async move {
                assert!(when > 1, "at the first poll");
                tokio::task::yield_now().await;
                assert!(when > 2, "later");
                Ok(())
            }
        })
        .await
    }

    #[tokio::test]
    async fn a_panic_is_an_error_that_does_not_say_what_it_said() {
        for when in 0..3 {
            let error = panics(when).await.expect_err("it panics");
            assert_eq!(error.kind(), ErrorKind::Internal);
            assert_eq!(error.to_string(), "a call to the store panicked");
        }
        panics(3).await.expect("it does not");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_answered_in_time_is_given_up() {
        let second = Duration::from_secs(1);
        assert_eq!(within(second, ready(1)).await, Some(1));
        assert_eq!(within(second, std::future::pending::<()>()).await, None);
    }
}
