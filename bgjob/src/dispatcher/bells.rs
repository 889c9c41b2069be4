//! [`Bells`]: what wakes the fetch loop and the receive loop.
//!
//! | what happens | fetch | receive |
//! |---|---|---|
//! | a new phase of the shutdown | rings | rings |
//! | a hand has few waiting jobs left | rings | rings |
//! | a slot is free and no job waits for it | | rings |
//! | an end waits to be recorded, and is the only one | rings | |
//! | a slot is free and its job needs no end | rings | |
//! | the queue has no hints | rings | |
//! | the shutdown waits for ends to be recorded | rings | |
//! | `look_again`: a claim may now give a job that it did not give before | rings | |
//!
//! The slots have bells of their own, one in each hand.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use tokio::sync::{Notify, futures::Notified};

#[derive(Debug, Default)]
pub(super) struct Bells {
    /// Wakes the fetch loop.
    fetch: Notify,
    /// Wakes the receive loop.
    receive: Notify,
    /// The fetch loop should ask the store at once, even for dry queues. Set by `look_again`,
    /// cleared by that loop.
    look: AtomicBool,
    /// The queue gave no hints lately. Set and cleared by the receive loop, read by the fetch loop.
    hints_dry: AtomicBool,
}

impl Bells {
    pub(super) fn ring_fetch(&self) {
        self.fetch.notify_one();
    }

    pub(super) fn ring_receive(&self) {
        self.receive.notify_one();
    }

    pub(super) fn ring_both(&self) {
        self.ring_fetch();
        self.ring_receive();
    }

    /// Returns when the fetch loop is woken.
    pub(super) fn for_fetch(&self) -> Notified<'_> {
        self.fetch.notified()
    }

    /// Returns when the receive loop is woken.
    pub(super) fn for_receive(&self) -> Notified<'_> {
        self.receive.notified()
    }

    /// Has the fetch loop ask the store at once, even for queues that were dry.
    pub(super) fn look_again(&self) {
        self.look.store(true, Relaxed);
        self.ring_fetch();
    }

    /// Whether `look_again` was called since the last time.
    pub(super) fn take_look(&self) -> bool {
        self.look.swap(false, Relaxed)
    }

    /// Notes that the queue has no hints, so that the fetch loop asks the store instead.
    pub(super) fn hints_ran_dry(&self) {
        if !self.hints_dry.swap(true, Relaxed) {
            self.ring_fetch();
        }
    }

    /// Notes that the queue has given hints.
    pub(super) fn hints_came(&self) {
        self.hints_dry.store(false, Relaxed);
    }

    pub(super) fn are_hints_dry(&self) -> bool {
        self.hints_dry.load(Relaxed)
    }
}
