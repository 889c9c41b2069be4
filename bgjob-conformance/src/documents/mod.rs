//! The suite of document stores: [`DOCUMENT_CASES`], one file an area.

use std::{fmt, future::Future, pin::Pin};

mod batches;
mod bodies;
mod bundle;
mod cases;
mod delete;
mod drops;
mod insert;
mod list;
mod races;
mod replace;
mod scan;
mod versions;

pub use bundle::Bundle;

type Run = for<'a> fn(&'a Bundle) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// One case of the suite of document stores.
#[derive(Clone, Copy)]
pub struct DocumentCase {
    /// The part of the contract that the case is about.
    pub area: &'static str,
    /// What has to hold.
    pub name: &'static str,
    run: Run,
}

impl DocumentCase {
    /// Runs the case. It panics if the store breaks the contract.
    pub(super) async fn run(&self, bundle: &Bundle) {
        (self.run)(bundle).await;
    }
}

impl fmt::Debug for DocumentCase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}::{}", self.area, self.name)
    }
}

crate::__document_cases! { __document_table () }
