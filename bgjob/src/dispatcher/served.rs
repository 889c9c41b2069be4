//! [`Served`]: the jobs this dispatcher runs, and what runs around them.

use std::{collections::BTreeMap, sync::Arc};

use super::middleware::Middleware;
use crate::{
    Error, Registry, Result,
    extract::{HeldJob, Services},
    registry::JobDescriptor,
};

/// The jobs this dispatcher runs, with the services they take and the middleware around them. Set
/// by the builder.
pub(super) struct Served {
    /// All registered jobs, including those that are not served.
    pub(super) registry: Registry,
    /// The names of the served jobs, and the highest version of their metadata that they can read.
    pub(super) names: Arc<BTreeMap<Arc<str>, u32>>,
    pub(super) services: Arc<Services>,
    /// By queue; middleware for all queues is in each entry.
    pub(super) middleware: BTreeMap<Arc<str>, Vec<Arc<dyn Middleware>>>,
}

impl Served {
    /// Checks that every service is there that the served jobs among these need.
    pub(super) fn check_needs(&self, of: impl Fn(&JobDescriptor) -> bool) -> Result<()> {
        let served = |job: &JobDescriptor| self.names.contains_key(job.name()) && of(job);
        match self.registry.missing(&self.services, served) {
            missing if missing.is_empty() => Ok(()),
            missing => Err(Error::invalid(missing.join("; "))),
        }
    }

    /// What is registered under the name of this job.
    pub(super) fn descriptor(&self, held: &HeldJob) -> Option<&'static JobDescriptor> {
        self.registry.get(&held.job.spec.name)
    }

    /// The middleware around the jobs of this queue, outermost first.
    pub(super) fn around(&self, queue: &str) -> &[Arc<dyn Middleware>] {
        self.middleware.get(queue).map_or(&[], Vec::as_slice)
    }
}
