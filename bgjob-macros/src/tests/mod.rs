//! Reading and checking without a compiler run, and a few expansions as snapshots.
//!
//! `UPDATE_EXPECT=1 cargo test -p bgjob-macros` rewrites the expectations.

mod expansions;
mod mistakes;
