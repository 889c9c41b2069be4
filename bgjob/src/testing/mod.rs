//! Tools for tests: a kit for testing your own jobs ([`TestJobs`], [`Perform`],
//! [`assert_enqueued!`](crate::assert_enqueued)), clocks that a test moves, stores with faults, and
//! a simulator. The suites that every store and queue must pass are the crate `bgjob-conformance`.

mod clock;
mod diff;
mod documents;
mod enqueued;
mod faulty;
#[cfg(feature = "file")]
#[doc(hidden)]
pub mod fuzz;
mod jobs;
mod perform;
mod run;
pub mod simulation;

pub use clock::{ManualClock, TokioClock};
pub use documents::{MemoryDocuments, Snapshot};
#[doc(hidden)]
pub use enqueued::{Enqueued, Seen};
pub use faulty::{Call, Fault, Faults, Faulty, Rates};
pub use jobs::TestJobs;
pub use perform::Perform;
pub use run::{Run, Runs};
