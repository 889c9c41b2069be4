//! The contracts of a document store: [`JobStore`] (full) and [`DocumentStore`] (basic), and
//! [`Documents`], which makes the one of the other.

mod adapter;
mod documents;
mod jobs;
mod shared;

pub use adapter::Documents;
pub use documents::{
    Document, DocumentCapabilities, DocumentStore, Filed, Inserted, Key, KeyRange, Replaced,
    Version,
};
pub use jobs::{
    Claim, Claimed, ClockSource, Created, Durability, Ending, Filter, Finished, Held, JobStore,
    QueueCount, Renewed, StoreCapabilities, Swept, Want,
};
