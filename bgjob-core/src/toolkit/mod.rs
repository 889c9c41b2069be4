//! Tools for writing a store: what several of bgjob's own share.

pub mod columns;
mod path;
mod wake;
mod worker;

pub use crate::forward_job_store;
pub use path::absolute;
pub use wake::{Wait, Wake};
pub use worker::Worker;
