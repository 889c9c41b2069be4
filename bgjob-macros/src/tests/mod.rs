//! Reading and checking without a compiler run, and a few expansions as snapshots.
//!
//! `UPDATE_EXPECT=1 cargo test -p bgjob-macros` writes the expectations anew.

mod expansions;
mod mistakes;
