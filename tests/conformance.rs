//! The conformance suites, on every provider there is.

use std::{sync::Arc, time::Duration};

use bgjob::{
    providers::{channel::ChannelQueue, memory::MemoryStore},
    testing::{
        ManualClock,
        conformance::{Clocked, Timed},
    },
};

async fn memory() -> Clocked {
    let clock = ManualClock::new();
    Clocked::new(MemoryStore::with_clock(Arc::new(clock.clone())), clock)
}

bgjob::store_conformance!(memory, memory);

async fn channel() -> Timed {
    Timed::new(ChannelQueue::new(), Duration::from_secs(30))
}

bgjob::queue_conformance!(channel, channel, without = [Shared]);
