//! [`Registry`]: the jobs a program knows, by name and alias.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use super::{JobDescriptor, JobItem, suggest};
use crate::{Error, Json, Result, extract::Services, job::limits};

/// The jobs a program knows, by name and alias.
///
/// ```
/// use bgjob::{Registry, prelude::*};
///
/// #[job]
/// async fn table_ping(_: ()) {}
///
/// let registry = Registry::new().with::<table_ping>();
/// assert!(registry.get("table_ping").is_some());
/// assert_eq!(registry.suggest("table_pong"), Some("table_ping"));
/// ```
#[derive(Debug, Clone, Default)]
pub struct Registry {
    /// In the order of their names.
    jobs: Vec<&'static JobDescriptor>,
    /// Names and aliases. Of two jobs with one name the first has it; `check` tells.
    names: HashMap<&'static str, &'static JobDescriptor>,
}

impl Registry {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a job. Adding it again changes nothing.
    #[must_use]
    pub fn with<T: JobItem>(self) -> Self {
        self.with_descriptor(T::descriptor())
    }

    /// Adds a job that is known only by its descriptor.
    #[must_use]
    pub fn with_descriptor(mut self, job: &'static JobDescriptor) -> Self {
        if !self.jobs.iter().any(|known| std::ptr::eq(*known, job)) {
            let place = |j: &JobDescriptor| (j.name(), j.file(), j.line());
            let at = self.jobs.partition_point(|known| place(known) <= place(job));
            self.jobs.insert(at, job);
            for name in job.names() {
                self.names.entry(name).or_insert(job);
            }
        }
        self
    }

    pub(super) fn of(jobs: impl Iterator<Item = &'static JobDescriptor>) -> Self {
        jobs.fold(Self::new(), Self::with_descriptor)
    }

    /// The job of this name or alias.
    pub fn get(&self, name: &str) -> Option<&'static JobDescriptor> {
        self.names.get(name).copied()
    }

    /// All jobs, in the order of their names.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &'static JobDescriptor> {
        self.jobs.iter().copied()
    }

    /// How many jobs there are.
    pub fn len(&self) -> usize {
        self.jobs.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// The known name nearest to an unknown one, for "did you mean".
    pub fn suggest(&self, name: &str) -> Option<&'static str> {
        suggest::nearest(name, self.names.keys().copied())
    }

    /// Checks that these jobs are there: what a program can't do without.
    ///
    /// # Errors
    /// `InvalidInput` naming all that are missing, with advice.
    pub fn expect_jobs<'a>(self, names: impl IntoIterator<Item = &'a str>) -> Result<Self> {
        let missing: Vec<_> = names
            .into_iter()
            .filter(|name| self.get(name).is_none())
            .map(|name| self.unknown(name))
            .collect();
        if missing.is_empty() {
            return Ok(self);
        }
        Err(Error::invalid(missing.join("; ")))
    }

    /// What to say of a name that no job has.
    pub(crate) fn unknown(&self, name: &str) -> String {
        let name = name.escape_debug();
        match self.suggest(&name.to_string()) {
            Some(known) => format!(
                "no job named `{name}` is linked into this program; did you mean `{known}`?"
            ),
            None => format!(
                "no job named `{name}` is linked into this program; if it lives in another crate, \
                 add `use that_crate as _;`"
            ),
        }
    }

    /// Checks that each name means one job and that each job's options can be stored.
    ///
    /// # Errors
    /// `InvalidInput` naming every duplicate and where both are defined, or the first bad option.
    pub fn check(&self) -> Result<()> {
        let mut twice = Vec::new();
        for job in self.iter() {
            for name in job.names() {
                let first = self.names[name];
                if !std::ptr::eq(first, job) {
                    let (here, there) = (first.place(), job.place());
                    twice.push(format!("two jobs are named `{name}`: {here} and {there}"));
                }
            }
        }
        if !twice.is_empty() {
            let twice = twice.join("; ");
            return Err(Error::invalid(format!(
                "{twice}: rename one with `#[job(name = \"…\")]`; tests and doctests that share a \
                 binary share their jobs too, so give them names of their own"
            )));
        }
        for job in self.iter() {
            self.check_options(job)?;
        }
        Ok(())
    }

    /// `#[job]` has checked all this; a descriptor written by hand may be wrong.
    fn check_options(&self, job: &JobDescriptor) -> Result<()> {
        let defined = |error: Error| error.with("job", job.name()).with("defined", job.place());
        job.names()
            .try_for_each(crate::job::check_name)
            .and_then(|()| crate::job::check_span("timeout", Some(job.timeout())))
            .and_then(|()| job.spec(Json::null()).validate(limits::METADATA))
            .map_err(defined)
    }

    /// What the jobs that are wanted need and `services` has not, one sentence each.
    pub(crate) fn missing<'a>(
        &'a self,
        services: &Services,
        wanted: impl Fn(&JobDescriptor) -> bool,
    ) -> Vec<String> {
        let mut missing = Vec::new();
        for job in self.iter().filter(|job| wanted(job)) {
            for need in job.needs().missing(services) {
                let (name, place) = (job.name(), job.place());
                missing.push(format!("job `{name}` ({place}) needs {need}"));
            }
        }
        missing
    }

    /// What a dispatcher serves: the names and aliases of the jobs that are wanted, each with the
    /// highest version of the metadata that can be read.
    pub fn serves(&self, wanted: impl Fn(&JobDescriptor) -> bool) -> BTreeMap<Arc<str>, u32> {
        self.iter()
            .filter(|job| wanted(job))
            .flat_map(|job| job.names().map(|name| (name.into(), job.version())))
            .collect()
    }
}
