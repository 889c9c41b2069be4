//! [`Registry`]: the jobs a program knows, by name and alias.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::Arc,
};

use super::{JobDescriptor, JobItem, suggest};
use crate::{Error, Json, Result, extract::Services, job::limits};

/// The jobs a program knows, by name and alias.
///
/// ```
/// use bgjob::{Registry, prelude::*};
///
/// #[job(name = "ping", aliases = ["old_ping"])]
/// async fn ping(_: ()) {}
///
/// let registry = Registry::new().with::<ping>();
/// assert_eq!(registry.get("old_ping").map(|job| job.name()), Some("ping"));
/// assert_eq!(registry.suggest("pong"), Some("ping"));
/// ```
#[derive(Clone, Default)]
pub struct Registry {
    /// In the order of their names.
    jobs: Vec<&'static JobDescriptor>,
    /// Names and aliases. If two jobs share a name, the first has it here; `check` reports that.
    names: HashMap<&'static str, &'static JobDescriptor>,
}

impl Registry {
    /// An empty registry.
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
            let at = self
                .jobs
                .partition_point(|known| place(known) <= place(job));
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

    /// Checks that these jobs are there, for a program that can't do without them.
    ///
    /// # Errors
    /// `InvalidInput` naming all missing jobs, with advice.
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

    /// The error text for a name that no job has.
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

    pub(super) fn check_against(&self, signatures: &[&'static JobDescriptor]) -> Result<()> {
        let mut wrong = Vec::new();
        for signature in signatures {
            let Some(job) = self.get(signature.name()) else {
                continue;
            };
            let differences = job.differences(signature);
            if !differences.is_empty() {
                let (name, there, here) = (signature.name(), signature.place(), job.place());
                let differences = differences.join(", ");
                wrong.push(format!(
                    "the signature of `{name}` at {there} does not fit the job at {here}: \
                     {differences}"
                ));
            }
        }
        if wrong.is_empty() {
            return Ok(());
        }
        Err(Error::invalid(wrong.join("; ")))
    }

    /// Checks a descriptor's options. `#[job]` has checked them already, but a descriptor written
    /// by hand may be wrong.
    fn check_options(&self, job: &JobDescriptor) -> Result<()> {
        let defined = |error: Error| error.with("job", job.name()).with("defined", job.place());
        if job.is_signature() {
            let text = "this is a signature without a body (`#[job(extern)]`): name the job \
                        itself, in the program that runs it";
            return Err(defined(Error::invalid(text)));
        }
        job.names()
            .try_for_each(crate::job::check_name)
            .and_then(|()| crate::job::check_span("timeout", Some(job.timeout())))
            .and_then(|()| job.spec(Json::null()).validate(limits::METADATA))
            .map_err(defined)
    }

    /// The needs of the wanted jobs that `services` does not meet, one sentence each.
    pub(crate) fn missing(
        &self,
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

    /// What a dispatcher serves: the names and aliases of the wanted jobs, each with the highest
    /// version of the metadata that can be read.
    pub fn serves(&self, wanted: impl Fn(&JobDescriptor) -> bool) -> BTreeMap<Arc<str>, u32> {
        self.iter()
            .filter(|job| wanted(job))
            .flat_map(|job| job.names().map(|name| (name.into(), job.version())))
            .collect()
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set()
            .entries(self.iter().map(JobDescriptor::name))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use std::{any::TypeId, time::Duration};

    use super::*;
    use crate::{
        extract::{FromContext, Needs, State},
        registry::Handler,
    };

    const HANDLER: Handler = |_| Box::pin(async { crate::Outcome::Success(Json::null()) });

    const fn job(name: &'static str) -> JobDescriptor {
        JobDescriptor::new(name, HANDLER)
    }

    static A: JobDescriptor = job("a")
        .with_aliases(&["old_a", "older_a"])
        .with_metadata(|| "app::Image")
        .with_version(2, None);
    static B: JobDescriptor = job("b").with_queue("slow");
    static B_AGAIN: JobDescriptor = job("b");
    static WAS_A: JobDescriptor = job("was_a").with_aliases(&["old_a"]);

    fn registry<const N: usize>(jobs: [&'static JobDescriptor; N]) -> Registry {
        Registry::of(jobs.into_iter())
    }

    fn says(result: Result<()>, expected: &[&str]) {
        let text = result.expect_err("it should be refused").to_string();
        for part in expected {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn a_job_is_found_by_its_names() {
        let jobs = registry([&B, &A, &B]);
        assert_eq!(format!("{jobs:?}"), r#"{"a", "b"}"#);
        for name in ["a", "old_a", "older_a"] {
            assert_eq!(jobs.get(name).map(JobDescriptor::name), Some("a"));
        }
        assert!(jobs.get("c").is_none());
        assert!(jobs.check().is_ok());
    }

    #[test]
    fn two_jobs_of_one_name_are_told_with_both_places() {
        let places = [&B, &B_AGAIN, &A, &WAS_A].map(JobDescriptor::place);
        assert!(
            places
                .iter()
                .all(|place| place.contains("registry/table.rs:"))
        );
        says(
            registry([&WAS_A, &B_AGAIN, &A, &B]).check(),
            &[
                &format!("two jobs are named `b`: {} and {}", places[0], places[1]),
                "`old_a`",
                &places[2],
                &places[3],
                "doctests",
            ],
        );
    }

    #[test]
    fn options_written_by_hand_are_checked() {
        static NO_QUEUE: JobDescriptor = job("c").with_queue("No");
        static NO_ALIAS: JobDescriptor = job("c").with_aliases(&[""]);
        static TOO_LONG: JobDescriptor = job("c").with_timeout(Duration::MAX);
        let place = |job: &JobDescriptor| format!("defined: {}", job.place());
        says(
            registry([&NO_QUEUE]).check(),
            &["queue names", "job: c", &place(&NO_QUEUE)],
        );
        says(
            registry([&NO_ALIAS]).check(),
            &["job names", &place(&NO_ALIAS)],
        );
        says(
            registry([&TOO_LONG]).check(),
            &["`timeout`", &place(&TOO_LONG)],
        );
    }

    #[test]
    fn a_signature_is_no_job() {
        static RESIZE: JobDescriptor = JobDescriptor::signature("resize");
        says(
            registry([&RESIZE]).check(),
            &["a signature without a body", &RESIZE.place()],
        );
    }

    #[test]
    fn a_signature_that_says_otherwise_than_its_job_is_told_with_both_places() {
        static FITS: JobDescriptor = JobDescriptor::signature("b").with_queue("slow");
        static OTHER: JobDescriptor = JobDescriptor::signature("old_a")
            .with_queue("images")
            .with_version(3, None)
            .with_metadata(|| "web::Image");
        static OF_ANOTHER: JobDescriptor = JobDescriptor::signature("c");
        let jobs = registry([&A, &B]);
        assert!(jobs.check_against(&[&FITS, &OF_ANOTHER]).is_ok());
        says(
            jobs.check_against(&[&FITS, &OTHER]),
            &[
                "the signature of `old_a`",
                &OTHER.place(),
                &A.place(),
                "`queue` is \"images\" there and \"default\" here",
                "`version` is 3 there and 2 here",
                "`the metadata` is \"web::Image\" there and \"app::Image\" here",
            ],
        );
    }

    #[test]
    fn expected_jobs_that_are_missing_are_named_all_at_once() {
        let jobs = registry([&A, &B]);
        assert!(jobs.clone().expect_jobs(["b", "older_a"]).is_ok());
        says(
            jobs.expect_jobs(["a", "old_b", "resize"]).map(drop),
            &[
                "`old_b`",
                "did you mean `old_a`?",
                "`resize`",
                "add `use that_crate as _;`",
            ],
        );
    }

    #[test]
    fn what_is_served_has_all_names_and_versions() {
        let jobs = registry([&A, &B]);
        let served = |serves: BTreeMap<Arc<str>, u32>| -> Vec<(String, u32)> {
            serves
                .into_iter()
                .map(|(name, version)| (name.to_string(), version))
                .collect()
        };
        let a = ["a", "old_a", "older_a"].map(|name| (name.to_owned(), 2));
        assert_eq!(served(jobs.serves(|job| job.queue() == "default")), a);
        assert_eq!(jobs.serves(|_| true).len(), 4);
    }

    #[test]
    fn all_missing_services_are_told_at_once() {
        struct Mailer;
        static MAIL: JobDescriptor = job("mail").with_needs(|needs: &mut Needs| {
            State::<Mailer>::needs(needs);
            Option::<State<u16>>::needs(needs);
            <(State<u8>, State<Mailer>)>::needs(needs);
        });
        let services = Services::from([(TypeId::of::<u8>(), Arc::new(1_u8) as _)]);
        let place = MAIL.place();
        let mailer = format!("job `mail` ({place}) needs `State<Mailer>`: add `.state(mailer)`");
        let number = format!("job `mail` ({place}) needs `State<u8>`: add `.state(u8)`");
        let jobs = registry([&A, &MAIL]);
        assert_eq!(jobs.missing(&services, |_| true), [&*mailer]);
        assert_eq!(
            jobs.missing(&Services::default(), |_| true),
            [mailer, number]
        );
        assert!(jobs.missing(&services, |job| job.name() == "a").is_empty());
    }

    #[test]
    fn a_spec_shares_its_names() {
        let specs = [A.spec(Json::null()), A.spec(Json::null())];
        assert!(Arc::ptr_eq(&specs[0].name, &specs[1].name));
        assert!(Arc::ptr_eq(&specs[0].queue, &specs[1].queue));
    }
}
