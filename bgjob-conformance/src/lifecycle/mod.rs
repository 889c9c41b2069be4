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
    /// The part of a job's life that the case is about.
    pub area: &'static str,
    /// What has to hold.
    pub name: &'static str,
    /// The capabilities that the case needs. Without one of them it is left out.
    pub needs: &'static [StoreCapability],
    run: Run,
}

impl LifecycleCase {
    /// Runs the case. It panics if a job does not behave as promised.
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
