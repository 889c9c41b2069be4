//! The builders that `enqueue` and `enqueue_all` return.

use std::marker::PhantomData;

use super::JobManager;
use crate::registry::JobDescriptor;

/// One job about to be enqueued.
#[derive(Debug)]
#[must_use = "nothing is enqueued until it is awaited"]
pub struct Enqueue<M, R> {
    metadata: M,
    result: PhantomData<fn() -> R>,
}

impl<M, R> Enqueue<M, R> {
    #[doc(hidden)]
    pub fn new(manager: &JobManager, job: &'static JobDescriptor, metadata: M) -> Self {
        let _ = (manager, job);
        Self {
            metadata,
            result: PhantomData,
        }
    }
}

/// Many jobs about to be enqueued.
#[derive(Debug)]
#[must_use = "nothing is enqueued until it is awaited"]
pub struct EnqueueAll<M, R> {
    metadata: Vec<M>,
    result: PhantomData<fn() -> R>,
}

impl<M, R> EnqueueAll<M, R> {
    #[doc(hidden)]
    pub fn new(
        manager: &JobManager,
        job: &'static JobDescriptor,
        metadata: impl IntoIterator<Item = M>,
    ) -> Self {
        let _ = (manager, job);
        Self {
            metadata: metadata.into_iter().collect(),
            result: PhantomData,
        }
    }
}
