//! Which jobs there are: name → function.

mod descriptor;

pub use descriptor::{Handler, HandlerFuture, JobDescriptor};
