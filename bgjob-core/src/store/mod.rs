//! The contracts of a document store: [`JobStore`] (full) and [`DocumentStore`] (basic), and
//! [`Documents`], which makes a `JobStore` of any `DocumentStore`.
//!
//! To bring a store of your own, begin with [`DocumentStore`]: eight methods that know nothing of
//! jobs. The guide [Write your own provider][guide] goes through a real one. The suite of
//! `bgjob-conformance` is what every store has to pass.
//!
//! [guide]: https://github.com/bgjob/bgjob/blob/main/docs/write-a-provider.md

mod adapter;
mod answers;
mod documents;
mod jobs;
#[doc(hidden)]
pub mod linked;
mod look;
mod scheme;
mod shared;
mod swept;
mod transactions;

pub use crate::queue::Want;
pub use crate::transaction::{Statement, Transaction};
#[doc(hidden)]
pub use adapter::Body;
pub use adapter::Documents;
#[doc(hidden)]
pub use answers::{created, finished};
pub use documents::{
    Document, DocumentCapabilities, DocumentStore, Filed, Inserted, Key, KeyRange, Replaced,
    Version,
};
pub use jobs::{
    Claim, Claimed, ClockSource, Created, Durability, Ending, Finished, Holder, JobStore, Renewal,
    Renewed, StoreCapabilities,
};
pub use look::{Filter, Listed, Order, Period, QueueCounts, Slice};
#[doc(hidden)]
pub use scheme::Opens;
pub use scheme::{Opening, Scheme};
pub use swept::{Swept, SweptJob};
pub use transactions::InTransactions;
#[doc(hidden)]
pub use transactions::in_transactions;
