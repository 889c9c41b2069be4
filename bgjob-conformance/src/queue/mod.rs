//! The queue suite: [`QUEUE_CASES`], one file an area.

use std::{fmt, future::Future, pin::Pin};

use bgjob::queue::QueueCapabilities;

mod bundle;
mod cases;
mod deliver;
mod settle;
mod urgent;

pub use bundle::Bundle;

/// What a case may need and a queue may lack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum QueueCapability {
    /// [`priorities`](QueueCapabilities::priorities).
    Priorities,
    /// [`shared`](QueueCapabilities::shared). No case needs it: the suite runs in one process.
    Shared,
}

impl QueueCapability {
    /// The capabilities that a queue lacks.
    pub fn lacking(capabilities: &QueueCapabilities) -> Vec<Self> {
        let each = [
            (Self::Priorities, capabilities.priorities),
            (Self::Shared, capabilities.shared),
        ];
        let lacking = each.into_iter().filter(|(_, has)| !has);
        lacking.map(|(capability, _)| capability).collect()
    }
}

type Run = for<'a> fn(&'a Bundle) -> Pin<Box<dyn Future<Output = ()> + 'a>>;

/// One case of the queue suite.
#[derive(Clone, Copy)]
pub struct QueueCase {
    /// The part of the contract that the case is about.
    pub area: &'static str,
    /// What has to hold.
    pub name: &'static str,
    /// The capabilities that the case needs. Without one of them it is left out.
    pub needs: &'static [QueueCapability],
    run: Run,
}

impl QueueCase {
    /// Runs the case. It panics if the queue breaks the contract.
    pub(super) async fn run(&self, bundle: &Bundle) {
        (self.run)(bundle).await;
    }
}

impl fmt::Debug for QueueCase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}::{} {:?}", self.area, self.name, self.needs)
    }
}

crate::__queue_cases! { __queue_table () }
