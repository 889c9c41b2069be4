//! The suites that every provider must pass: what the contracts say, a named test a case.
//!
//! Give [`store_conformance!`](crate::store_conformance) or
//! [`queue_conformance!`](crate::queue_conformance) a function that makes a fresh provider:
//!
//! ```
//! use std::sync::Arc;
//! use bgjob::{providers::memory::MemoryStore, testing::{ManualClock, conformance::Clocked}};
//!
//! async fn fresh() -> Clocked {
//!     let clock = ManualClock::new();
//!     Clocked::new(MemoryStore::with_clock(Arc::new(clock.clone())), clock)
//! }
//!
//! bgjob::store_conformance!(memory_store, fresh);
//! # fn main() {}
//! ```
//!
//! What is built on the basic contract has a suite of its own besides,
//! [`document_conformance!`](crate::document_conformance): what fails there is next to its cause.
//!
//! [`store_sequences!`](crate::store_sequences) plays random programs of calls and races against a
//! model. [`lifecycle_conformance!`](crate::lifecycle_conformance) lets real dispatchers work on
//! the store, and a queue where there is one: they stop, are lost, and come back. Both go through
//! two openings of the store where the fixture has them ([`Clocked::with_second`]).
//!
//! Each case becomes a test of its own (`memory_store::claim::a_job_is_never_early`) on a store of
//! its own. What a provider declares that it can't do is left out, but not in silence: the macro
//! is told what that is (`without = [Unique]`), a test holds it to what the provider declares, and
//! the cases left out say so.

pub mod documents;
pub mod lifecycle;
pub mod queue;
pub mod store;

mod fixture;
mod random;
mod run;
mod together;

pub use documents::{DOCUMENT_CASES, DocumentCase};
pub use fixture::{Clocked, DocumentFixture, QueueFixture, StoreFixture, Stored, Timed};
pub use lifecycle::{LIFECYCLE_CASES, LifecycleCase};
pub use queue::{QUEUE_CASES, QueueCapability, QueueCase};
pub use store::{STORE_CASES, StoreCapability, StoreCase};

#[doc(hidden)]
pub use random::{run_histories, run_sequences};
#[doc(hidden)]
pub use run::{
    check_queue_lacks, check_store_lacks, run_document_case, run_lifecycle_case, run_queue_case,
    run_store_case,
};
