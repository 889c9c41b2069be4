//! Runs one case, and has the macros that make tests of the cases.

use std::{future::Future, sync::mpsc, thread, time::Duration};

use tokio::{
    runtime::{Builder, Runtime},
    sync::oneshot,
};

use super::{
    DOCUMENT_CASES, DocumentFixture, LIFECYCLE_CASES, QUEUE_CASES, QueueCapability, QueueFixture,
    STORE_CASES, StoreCapability, StoreFixture, documents::Bundle as DocumentBundle,
    lifecycle::Bundle as LifecycleBundle, queue::Bundle as QueueBundle,
    store::Bundle as StoreBundle,
};

/// Longer than any case takes on the slowest provider that doesn't really wait.
const WATCHDOG: Duration = Duration::from_secs(300);

/// Makes a module of tests out of the store suite.
///
/// `$factory` is an `async fn()` (or closure) that makes a fresh [`StoreFixture`]; `without` lists
/// the [`StoreCapability`]s that the store declares not to have.
///
/// See the [module docs](crate) for an example.
#[macro_export]
macro_rules! store_conformance {
    ($name:ident, $factory:expr $(, without = [$($lacks:ident),* $(,)?])? $(,)?) => {
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            $crate::__store_cases! { __conformance_tests (run_store_case, $factory) }

            #[test]
            fn what_is_left_out_is_what_the_store_declares() {
                use $crate::StoreCapability;
                let lacks: &[StoreCapability] = &[$($(StoreCapability::$lacks),*)?];
                $crate::check_store_lacks($factory, lacks);
            }
        }
    };
}

/// Makes a module of tests out of the queue suite.
///
/// `$factory` is an `async fn()` (or closure) that makes a fresh [`QueueFixture`]; `without` lists
/// the [`QueueCapability`]s that the queue declares not to have.
///
/// ```
/// use std::time::Duration;
/// use bgjob::providers::channel::ChannelQueue;
/// use bgjob_conformance::Timed;
///
/// async fn fresh() -> Timed {
///     Timed::new(ChannelQueue::new(), Duration::from_secs(30))
/// }
///
/// bgjob_conformance::queue_conformance!(channel_queue, fresh, without = [Shared]);
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! queue_conformance {
    ($name:ident, $factory:expr $(, without = [$($lacks:ident),* $(,)?])? $(,)?) => {
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            $crate::__queue_cases! { __conformance_tests (run_queue_case, $factory) }

            #[test]
            fn what_is_left_out_is_what_the_queue_declares() {
                use $crate::QueueCapability;
                let lacks: &[QueueCapability] = &[$($(QueueCapability::$lacks),*)?];
                $crate::check_queue_lacks($factory, lacks);
            }
        }
    };
}

/// Makes a module of tests out of the suite of document stores. It tests the basic contract alone,
/// without [`Documents`](bgjob::store::Documents).
///
/// `$factory` is an `async fn()` (or closure) that makes a fresh [`DocumentFixture`]. A document
/// store has no optional capabilities to leave out.
///
/// ```
/// use std::sync::Arc;
/// use bgjob::testing::{ManualClock, MemoryDocuments};
/// use bgjob_conformance::Stored;
///
/// async fn fresh() -> Stored {
///     Stored::new(MemoryDocuments::new(Arc::new(ManualClock::new())))
/// }
///
/// bgjob_conformance::document_conformance!(memory_documents, fresh);
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! document_conformance {
    ($name:ident, $factory:expr $(,)?) => {
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            $crate::__document_cases! { __conformance_tests (run_document_case, $factory) }
        }
    };
}

/// Makes a module of tests out of the lifecycle suite: real dispatchers work on the store, stop,
/// are lost and come back.
///
/// `$factory` is an `async fn()` (or closure) that makes a fresh [`StoreFixture`], as for
/// [`store_conformance!`](crate::store_conformance). To test a queue, put it beside a store that is
/// known to be good:
///
/// ```
/// use std::sync::Arc;
/// use bgjob::{
///     providers::{channel::ChannelQueue, memory::MemoryStore},
///     testing::ManualClock,
/// };
/// use bgjob_conformance::Clocked;
///
/// async fn fresh() -> Clocked {
///     let clock = ManualClock::new();
///     let store = MemoryStore::with_clock(Arc::new(clock.clone()));
///     Clocked::new(store, clock).with_queue(ChannelQueue::new())
/// }
///
/// bgjob_conformance::lifecycle_conformance!(channel_at_work, fresh);
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! lifecycle_conformance {
    ($name:ident, $factory:expr $(,)?) => {
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            $crate::__lifecycle_cases! { __conformance_tests (run_lifecycle_case, $factory) }
        }
    };
}

/// `area [needs] { case, … }` → `mod area { #[test] fn case() { run(area, case, factory) } … }`
#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_tests {
    (($run:ident, $factory:expr)
        $($area:ident $needs:tt { $($case:ident,)* })*
    ) => {
        $(
            mod $area {
                #[allow(unused_imports)]
                use super::*;

                $(
                    #[test]
                    fn $case() {
                        $crate::$run(
                            stringify!($area),
                            stringify!($case),
                            $factory,
                        );
                    }
                )*
            }
        )*
    };
}

/// Runs one case of the store suite on a new store.
pub fn run_store_case<F: StoreFixture + 'static>(
    area: &str,
    name: &str,
    factory: impl AsyncFnOnce() -> F,
) {
    let case = STORE_CASES
        .iter()
        .find(|case| (case.area, case.name) == (area, name))
        .expect("the macros name only cases of the list");
    two_threads().block_on(watch(area, name, WATCHDOG, async {
        let bundle = StoreBundle::new(factory().await);
        let lacks = StoreCapability::lacking(&bundle.store.capabilities());
        match case.needs.iter().find(|need| lacks.contains(need)) {
            Some(need) => left_out(area, name, need),
            None => case.run(&bundle).await,
        }
    }));
}

/// Runs one case of the lifecycle suite on a new store.
pub fn run_lifecycle_case<F: StoreFixture + 'static>(
    area: &str,
    name: &str,
    factory: impl AsyncFnOnce() -> F,
) {
    let case = LIFECYCLE_CASES
        .iter()
        .find(|case| (case.area, case.name) == (area, name))
        .expect("the macros name only cases of the list");
    two_threads().block_on(watch(area, name, WATCHDOG, async {
        let bundle = LifecycleBundle::new(factory().await);
        let lacks = StoreCapability::lacking(&bundle.store.capabilities());
        match case.needs.iter().find(|need| lacks.contains(need)) {
            Some(need) => left_out(area, name, need),
            None => case.run(&bundle).await,
        }
    }));
}

/// Runs one case of the suite of document stores on a new store.
pub fn run_document_case<F: DocumentFixture + 'static>(
    area: &str,
    name: &str,
    factory: impl AsyncFnOnce() -> F,
) {
    let case = DOCUMENT_CASES
        .iter()
        .find(|case| (case.area, case.name) == (area, name))
        .expect("the macros name only cases of the list");
    two_threads().block_on(watch(area, name, WATCHDOG, async {
        case.run(&DocumentBundle::new(factory().await)).await;
    }));
}

/// Runs one case of the queue suite on a new queue.
pub fn run_queue_case<F: QueueFixture + 'static>(
    area: &str,
    name: &str,
    factory: impl AsyncFnOnce() -> F,
) {
    queue_case(area, name, WATCHDOG, factory);
}

fn queue_case<F: QueueFixture + 'static>(
    area: &str,
    name: &str,
    within: Duration,
    factory: impl AsyncFnOnce() -> F,
) {
    let case = QUEUE_CASES
        .iter()
        .find(|case| (case.area, case.name) == (area, name))
        .expect("the macros name only cases of the list");
    one_thread().block_on(watch(area, name, within, async {
        let bundle = QueueBundle::new(factory().await).await;
        let lacks = QueueCapability::lacking(&bundle.queue.capabilities());
        match case.needs.iter().find(|need| lacks.contains(need)) {
            Some(need) => left_out(area, name, need),
            None => case.run(&bundle).await,
        }
    }));
}

/// Several threads, so that the races are real.
fn two_threads() -> Runtime {
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime.expect("a runtime can be made")
}

/// One thread, so that the fixture can pause tokio's time.
fn one_thread() -> Runtime {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime can be made")
}

/// Panics if a case waits for something that never comes. It measures the system's time, as tokio's
/// may stand still or jump.
async fn watch(area: &str, name: &str, within: Duration, case: impl Future<Output = ()>) {
    let (over, ended) = mpsc::channel::<()>();
    let (bark, late) = oneshot::channel();
    thread::spawn(move || {
        if ended.recv_timeout(within) == Err(mpsc::RecvTimeoutError::Timeout) {
            // The receiver is gone if the case ended just now.
            let _ = bark.send(());
        }
    });
    tokio::select! {
        biased;
        () = case => drop(over),
        Ok(()) = late => panic!("{area}::{name} did not end within {within:?}"),
    }
}

/// Compares what a store declares with the capabilities that the test says it lacks.
pub fn check_store_lacks<F: StoreFixture + 'static>(
    factory: impl AsyncFnOnce() -> F,
    lacks: &[StoreCapability],
) {
    let declared = two_threads().block_on(async {
        let fixture = factory().await;
        StoreCapability::lacking(&fixture.store().capabilities())
    });
    let out = STORE_CASES
        .iter()
        .filter(|case| case.needs.iter().any(|n| lacks.contains(n)));
    compare(&declared, lacks, STORE_CASES.len(), out.count());
}

/// Compares what a queue declares with the capabilities that the test says it lacks.
pub fn check_queue_lacks<F: QueueFixture + 'static>(
    factory: impl AsyncFnOnce() -> F,
    lacks: &[QueueCapability],
) {
    let declared = one_thread().block_on(async {
        let fixture = factory().await;
        QueueCapability::lacking(&fixture.queue().capabilities())
    });
    let out = QUEUE_CASES
        .iter()
        .filter(|case| case.needs.iter().any(|n| lacks.contains(n)));
    compare(&declared, lacks, QUEUE_CASES.len(), out.count());
}

fn compare<C: PartialEq + std::fmt::Debug>(declared: &[C], lacks: &[C], all: usize, out: usize) {
    let same = declared.len() == lacks.len() && lacks.iter().all(|c| declared.contains(c));
    assert!(
        same,
        "the provider declares that it lacks {declared:?}, the suite was told {lacks:?}: say \
         `without = {declared:?}`"
    );
    say(&format!(
        "{} of {all} cases run, {out} left out for {lacks:?}",
        all - out
    ));
}

fn left_out(area: &str, name: &str, need: &impl std::fmt::Debug) {
    say(&format!(
        "{area}::{name} left out: the provider declares no {need:?}"
    ));
}

#[allow(clippy::print_stderr, reason = "the test harness is who listens")]
pub(super) fn say(text: &str) {
    eprintln!("{text}");
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use bgjob::{
        providers::channel::ChannelQueue,
        testing::{Call, Fault, Faulty},
    };

    use super::*;
    use crate::Timed;

    /// The message with which the case fails on a queue where these calls hang.
    fn hanging(calls: &'static [Call], within: Duration) -> Option<String> {
        let case = || {
            queue_case(
                "deliver",
                "what_is_pushed_is_received",
                within,
                async || {
                    let queue = Faulty::new(ChannelQueue::new());
                    queue.faults().plan(|call, _| match calls.contains(&call) {
                        true => Fault::Hang,
                        false => Fault::None,
                    });
                    Timed::new(queue, Duration::from_secs(30))
                },
            );
        };
        let failed = catch_unwind(AssertUnwindSafe(case)).err()?;
        failed.downcast_ref().cloned()
    }

    #[test]
    fn a_queue_that_hangs_is_told_of() {
        assert_eq!(hanging(&[], WATCHDOG), None);
        for calls in [&[Call::Ensure], &[Call::Push], &[Call::Receive]] {
            let said = hanging(calls, Duration::from_millis(100)).unwrap_or_default();
            let expected = "deliver::what_is_pushed_is_received did not end within 100ms";
            assert_eq!(said, expected, "{calls:?}");
        }
    }
}
