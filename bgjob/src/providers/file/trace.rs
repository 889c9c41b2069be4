//! Records what was done to the disk, in order, so that tests can check that no file takes its
//! place before it is synced.

use std::{cell::RefCell, path::Path};

thread_local! {
    static DONE: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

pub(super) fn note(what: &str, path: &Path) {
    DONE.with_borrow_mut(|done| done.push(format!("{what} {}", path.display())));
}

/// What this thread did since the last call.
pub(super) fn take() -> Vec<String> {
    DONE.take()
}
