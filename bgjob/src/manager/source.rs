//! [`Source`]: what an enqueue knows of the job besides its options.

use std::sync::Arc;

use serde::Serialize;

use crate::{
    Error, JobSpec, Json, Result,
    registry::{self, JobDescriptor},
};

/// Where the job's settings come from.
#[derive(Clone)]
pub(super) enum Source {
    Described(&'static JobDescriptor),
    /// A name that the caller gave, and the job that has it or once had it, if that is linked.
    Named(Arc<str>, Option<&'static JobDescriptor>),
}

impl Source {
    pub(super) fn named(name: Arc<str>) -> Self {
        let job = registry::known(&name);
        Self::Named(name, job)
    }

    pub(super) fn spec(&self, metadata: Json) -> JobSpec {
        match self {
            Self::Described(job) => job.spec(metadata),
            // The name stays as given: workers may know only the old one.
            Self::Named(name, Some(job)) => {
                let mut spec = job.spec(metadata);
                spec.name = Arc::clone(name);
                spec
            }
            Self::Named(name, None) => JobSpec::new(Arc::clone(name), metadata),
        }
    }

    pub(super) fn name(&self) -> &str {
        match self {
            Self::Described(job) => job.name(),
            Self::Named(name, _) => name,
        }
    }

    fn job(&self) -> Option<&'static JobDescriptor> {
        match self {
            Self::Described(job) | Self::Named(_, Some(job)) => Some(*job),
            Self::Named(_, None) => None,
        }
    }

    /// The name that its unique keys belong to.
    pub(super) fn oldest_name(&self) -> &str {
        match self.job() {
            Some(job) => job.oldest_name(),
            None => self.name(),
        }
    }

    /// All names of its function that are known here.
    pub(super) fn family(&self) -> &'static [&'static str] {
        self.job().map_or(&[], JobDescriptor::family)
    }

    /// In debug builds and in tests: checks that the metadata can be read back unchanged. serde
    /// can't read everything that it writes.
    pub(super) fn check<M: Serialize>(&self, spec: &JobSpec, metadata: &M) -> Result<()> {
        let Self::Described(job) = self else {
            return Ok(());
        };
        if !cfg!(any(debug_assertions, feature = "testing")) || spec.version != job.version() {
            return Ok(());
        }
        spec.metadata.tells_apart(metadata)?;
        let Some(read_back) = job.read_back() else {
            return Ok(());
        };
        read_back(&spec.metadata).map_err(|error| {
            let text = "the metadata can't be read back as it is written, so the job would be dead \
                        (`decode`) at its first start: mend how its type is written";
            Error::invalid(text).with("reading", error)
        })
    }
}
