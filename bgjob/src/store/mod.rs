//! The contracts of a document store: [`JobStore`] (full) and [`DocumentStore`] (basic).

mod jobs;

pub use jobs::{
    Claim, Claimed, ClockSource, Created, Durability, Ending, Filter, Finished, Held, JobStore,
    QueueCount, Renewed, StoreCapabilities, Swept, Want,
};
