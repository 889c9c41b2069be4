//! [`JobDescriptor`]: what is known of a job before any is enqueued.

use std::pin::Pin;

use crate::{JobContext, Outcome, job::Json};

/// A handler at work: decode, extract, run, encode.
pub type HandlerFuture = Pin<Box<dyn Future<Output = Outcome<Json>> + Send>>;

/// What runs one attempt.
pub type Handler = fn(JobContext) -> HandlerFuture;

/// What is known of a job before any is enqueued.
#[derive(Debug)]
pub struct JobDescriptor {
    _private: (),
}
