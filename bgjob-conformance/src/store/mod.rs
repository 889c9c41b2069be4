//! The store suite: [`STORE_CASES`], one file an area.

use std::{fmt, future::Future, pin::Pin};

use bgjob::store::StoreCapabilities;

mod bundle;
mod cases;
mod claim;
mod counts;
mod create;
mod damage;
mod edges;
mod filters;
mod finish;
mod grants;
mod large;
mod large_ready;
mod list;
mod many;
mod many_unique;
mod next_due;
mod odd;
mod operate;
mod purge;
mod races;
mod ready;
mod ready_races;
mod ready_suspects;
mod renew;
mod sweep;
mod touch;
mod unique;
mod unique_races;
mod vanish;
mod waking;
mod workers;

pub use bundle::Bundle;

/// What a case may need and a store may lack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreCapability {
    /// [`ready_scan`](StoreCapabilities::ready_scan).
    ReadyScan,
    /// [`next_due`](StoreCapabilities::next_due).
    NextDue,
    /// [`wakes`](StoreCapabilities::wakes).
    Wakes,
    /// [`unique`](StoreCapabilities::unique).
    Unique,
}

impl StoreCapability {
    /// The capabilities that a store lacks.
    pub fn lacking(capabilities: &StoreCapabilities) -> Vec<Self> {
        let each = [
            (Self::ReadyScan, capabilities.ready_scan),
            (Self::NextDue, capabilities.next_due),
            (Self::Wakes, capabilities.wakes),
            (Self::Unique, capabilities.unique),
        ];
        let lacking = each.into_iter().filter(|(_, has)| !has);
        lacking.map(|(capability, _)| capability).collect()
    }
}

type Run = for<'a> fn(&'a Bundle) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// One case of the store suite.
#[derive(Clone, Copy)]
pub struct StoreCase {
    /// The part of the contract that the case is about.
    pub area: &'static str,
    /// What has to hold.
    pub name: &'static str,
    /// The capabilities that the case needs. Without one of them it is left out.
    pub needs: &'static [StoreCapability],
    run: Run,
}

impl StoreCase {
    /// Runs the case. It panics if the store breaks the contract.
    pub(super) async fn run(&self, bundle: &Bundle) {
        (self.run)(bundle).await;
    }
}

impl fmt::Debug for StoreCase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}::{} {:?}", self.area, self.name, self.needs)
    }
}

crate::__store_cases! { __store_table () }
