//! The lifecycle suite: [`LIFECYCLE_CASES`], one file an area. Real managers and dispatchers work
//! on the store under test, in real time.

use std::{fmt, future::Future, pin::Pin};

use super::StoreCapability;

mod bundle;
mod cancel;
mod cases;
mod handlers;
mod heard;
mod leases;
mod lost;
mod run;
mod runtimes;
mod share;
mod shutdown;
mod unique;

pub use bundle::Bundle;

type Run = for<'a> fn(&'a Bundle) -> Pin<Box<dyn Future<Output = ()> + 'a>>;

/// One case of the lifecycle suite.
#[derive(Clone, Copy)]
pub struct LifecycleCase {
    /// What part of a job's life it is about.
    pub area: &'static str,
    /// What has to hold.
    pub name: &'static str,
    /// It is left out where the store lacks one of these.
    pub needs: &'static [StoreCapability],
    run: Run,
}

impl LifecycleCase {
    /// Runs it; it panics where a job fares otherwise than is promised.
    pub(super) async fn run(&self, bundle: &Bundle) {
        (self.run)(bundle).await;
    }
}

impl fmt::Debug for LifecycleCase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}::{} {:?}", self.area, self.name, self.needs)
    }
}

crate::__lifecycle_cases! { __lifecycle_table () }
