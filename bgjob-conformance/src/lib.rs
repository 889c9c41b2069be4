//! The suites that every provider of [bgjob](https://docs.rs/bgjob) must pass. They turn each rule
//! of a contract into a named test.
//!
//! This crate is for authors of stores and queues: `cargo add --dev bgjob-conformance`. The clocks
//! and fault wrappers are in [`bgjob::testing`], so add `bgjob` with its feature `testing` too.
//!
//! Give [`store_conformance!`](crate::store_conformance) or
//! [`queue_conformance!`](crate::queue_conformance) a function that makes a fresh provider:
//!
//! ```
//! use std::sync::Arc;
//! use bgjob::{providers::memory::MemoryStore, testing::ManualClock};
//! use bgjob_conformance::Clocked;
//!
//! async fn fresh() -> Clocked {
//!     let clock = ManualClock::new();
//!     Clocked::new(MemoryStore::with_clock(Arc::new(clock.clone())), clock)
//! }
//!
//! bgjob_conformance::store_conformance!(memory_store, fresh);
//! # fn main() {}
//! ```
//!
//! Document stores have a suite for the basic contract as well,
//! [`document_conformance!`](crate::document_conformance). A case that fails there is close to its
//! cause.
//!
//! [`store_sequences!`](crate::store_sequences) plays random programs of calls, and races, against
//! a model. [`lifecycle_conformance!`](crate::lifecycle_conformance) lets real dispatchers work on
//! the store, with a queue if there is one: they stop, are lost, and come back. Both use two
//! openings of the store if the fixture has them ([`Clocked::with_second`]).
//!
//! Each case becomes a test (`memory_store::claim::a_job_is_never_early`) on a new store. Cases are
//! left out if they need what the provider declares not to have, but not silently: the macro call
//! lists the missing capabilities (`without = [Unique]`), a test compares the list with what the
//! provider declares, and the cases that are left out say so.
//!
//! What is hidden from this documentation is for the macros, and changes without notice.

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

/// The README's code, as doctests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
#[derive(Debug)]
pub struct Readme;
