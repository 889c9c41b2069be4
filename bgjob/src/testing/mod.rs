//! Tools for tests: clocks that move when told to, and the suites that every store and queue must
//! pass.

mod clock;
pub mod conformance;
mod documents;
mod faulty;
#[cfg(feature = "file")]
#[doc(hidden)]
pub mod fuzz;
pub mod simulation;

pub use clock::{ManualClock, TokioClock};
pub use documents::MemoryDocuments;
pub use faulty::{Call, Fault, Faults, Faulty, Rates};
