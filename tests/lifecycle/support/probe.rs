//! [`Probe`]: what handlers tell their test, and what it tells them.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use tokio::sync::Semaphore;

/// A service of the handlers under test. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Probe(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    said: Mutex<Vec<String>>,
    running: AtomicUsize,
    most: AtomicUsize,
    gate: Semaphore,
}

impl Probe {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Inner {
            said: Mutex::default(),
            running: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
            gate: Semaphore::new(0),
        }))
    }

    /// Notes something.
    pub(crate) fn say(&self, word: impl Into<String>) {
        self.0.said.lock().unwrap().push(word.into());
    }

    /// All that was noted.
    pub(crate) fn said(&self) -> Vec<String> {
        self.0.said.lock().unwrap().clone()
    }

    pub(crate) fn has_said(&self, word: &str) -> bool {
        self.0.said.lock().unwrap().iter().any(|said| said == word)
    }

    /// Waits until the test opens the gate for it.
    pub(crate) async fn gate(&self) {
        self.0.gate.acquire().await.expect("never closed").forget();
    }

    /// Lets this many through the gate.
    pub(crate) fn open(&self, n: usize) {
        self.0.gate.add_permits(n);
    }

    /// Counts as running until the answer is dropped.
    pub(crate) fn enter(&self) -> Inside {
        let now = 1 + self.0.running.fetch_add(1, SeqCst);
        self.0.most.fetch_max(now, SeqCst);
        Inside(self.clone())
    }

    pub(crate) fn running(&self) -> usize {
        self.0.running.load(SeqCst)
    }

    /// The most that ran at once.
    pub(crate) fn most(&self) -> usize {
        self.0.most.load(SeqCst)
    }
}

/// See [`Probe::enter`].
#[derive(Debug)]
pub(crate) struct Inside(Probe);

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.0.running.fetch_sub(1, SeqCst);
    }
}
