//! How one case is run, and the macros that make tests of them.

use std::{future::Future, time::Duration};

use tokio::runtime::{Builder, Runtime};

use super::{
    DOCUMENT_CASES, DocumentFixture, QUEUE_CASES, QueueCapability, QueueFixture, STORE_CASES,
    StoreCapability, StoreFixture, documents::Bundle as DocumentBundle,
    queue::Bundle as QueueBundle, store::Bundle as StoreBundle,
};

/// Longer than any case takes on the slowest provider that doesn't really wait.
const WATCHDOG: Duration = Duration::from_secs(300);

/// Makes a module of tests out of the store suite.
///
/// `$factory` is an `async fn()` (or closure) that makes a fresh [`StoreFixture`]; `without` lists
/// the [`StoreCapability`]s that the store declares not to have.
///
/// See the [module docs](crate::testing::conformance) for an example.
#[macro_export]
macro_rules! store_conformance {
    ($name:ident, $factory:expr $(, without = [$($lacks:ident),* $(,)?])? $(,)?) => {
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            $crate::__store_cases! { __conformance_tests (run_store_case, $factory) }

            #[test]
            fn what_is_left_out_is_what_the_store_declares() {
                use $crate::testing::conformance::StoreCapability;
                let lacks: &[StoreCapability] = &[$($(StoreCapability::$lacks),*)?];
                $crate::testing::conformance::check_store_lacks($factory, lacks);
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
/// use bgjob::{providers::channel::ChannelQueue, testing::conformance::Timed};
/// use std::{future::Future, time::Duration};
///
/// async fn fresh() -> Timed {
///     Timed::new(ChannelQueue::new(), Duration::from_secs(30))
/// }
///
/// bgjob::queue_conformance!(channel_queue, fresh, without = [Shared]);
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
                use $crate::testing::conformance::QueueCapability;
                let lacks: &[QueueCapability] = &[$($(QueueCapability::$lacks),*)?];
                $crate::testing::conformance::check_queue_lacks($factory, lacks);
            }
        }
    };
}

/// Makes a module of tests out of the suite of document stores: the basic contract alone, whatever
/// [`Documents`](crate::store::Documents) makes of it.
///
/// `$factory` is an `async fn()` (or closure) that makes a fresh [`DocumentFixture`]. There is
/// nothing that a document store may lack.
///
/// ```
/// use std::sync::Arc;
/// use bgjob::testing::{ManualClock, MemoryDocuments, conformance::Stored};
///
/// async fn fresh() -> Stored {
///     Stored::new(MemoryDocuments::new(Arc::new(ManualClock::new())))
/// }
///
/// bgjob::document_conformance!(memory_documents, fresh);
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
                        $crate::testing::conformance::$run(
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

/// Runs one case of the store suite on a store of its own.
pub fn run_store_case<F: StoreFixture + 'static>(
    area: &str,
    name: &str,
    factory: impl AsyncFnOnce() -> F,
) {
    let case = STORE_CASES
        .iter()
        .find(|case| (case.area, case.name) == (area, name))
        .expect("the macros name only cases of the list");
    two_threads().block_on(async {
        let bundle = StoreBundle::new(factory().await);
        let lacks = StoreCapability::lacking(&bundle.store.capabilities());
        if let Some(need) = case.needs.iter().find(|need| lacks.contains(need)) {
            return left_out(area, name, need);
        }
        watch(area, name, case.run(&bundle)).await;
    });
}

/// Runs one case of the suite of document stores on a store of its own.
pub fn run_document_case<F: DocumentFixture + 'static>(
    area: &str,
    name: &str,
    factory: impl AsyncFnOnce() -> F,
) {
    let case = DOCUMENT_CASES
        .iter()
        .find(|case| (case.area, case.name) == (area, name))
        .expect("the macros name only cases of the list");
    two_threads().block_on(async {
        let bundle = DocumentBundle::new(factory().await);
        watch(area, name, case.run(&bundle)).await;
    });
}

/// Several threads, so that the races are races.
fn two_threads() -> Runtime {
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime.expect("a runtime can be made")
}

async fn watch(area: &str, name: &str, case: impl Future<Output = ()>) {
    let run = tokio::time::timeout(WATCHDOG, case).await;
    assert!(
        run.is_ok(),
        "{area}::{name} did not end within {WATCHDOG:?}"
    );
}

/// Runs one case of the queue suite on a queue of its own.
pub fn run_queue_case<F: QueueFixture + 'static>(
    area: &str,
    name: &str,
    factory: impl AsyncFnOnce() -> F,
) {
    let case = QUEUE_CASES
        .iter()
        .find(|case| (case.area, case.name) == (area, name))
        .expect("the macros name only cases of the list");
    // One thread, so that the fixture may stop tokio's time.
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime can be made").block_on(async {
        let bundle = QueueBundle::new(factory().await).await;
        let lacks = QueueCapability::lacking(&bundle.queue.capabilities());
        match case.needs.iter().find(|need| lacks.contains(need)) {
            Some(need) => left_out(area, name, need),
            None => case.run(&bundle).await,
        }
    });
}

/// Holds a store to the capabilities it is said to lack.
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

/// Holds a queue to the capabilities it is said to lack.
pub fn check_queue_lacks<F: QueueFixture + 'static>(
    factory: impl AsyncFnOnce() -> F,
    lacks: &[QueueCapability],
) {
    let runtime = Builder::new_current_thread().enable_all().build();
    let declared = runtime.expect("a runtime can be made").block_on(async {
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
