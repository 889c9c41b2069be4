//! Callers that begin together.

use std::{future::Future, sync::Arc};

use tokio::sync::Barrier;

/// Runs all of them at the same time, each in its own task.
pub(super) async fn at_once<T, F>(calls: impl Iterator<Item = F>) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let calls: Vec<_> = calls.collect();
    let start = Arc::new(Barrier::new(calls.len()));
    let spawn = |call: F| {
        let start = Arc::clone(&start);
        tokio::spawn(async move {
            start.wait().await;
            call.await
        })
    };
    let tasks: Vec<_> = calls.into_iter().map(spawn).collect();
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await.expect("a caller does not panic"));
    }
    answers
}
