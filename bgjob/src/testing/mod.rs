//! Tools for tests: clocks that move when told to, and the suites that every store and queue must
//! pass.

mod clock;
pub mod conformance;
mod documents;

pub use clock::{ManualClock, TokioClock};
pub use documents::MemoryDocuments;
