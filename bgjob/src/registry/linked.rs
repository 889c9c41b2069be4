//! Jobs collected by the linker: the only file that knows `linkme`.
//!
//! Each `#[job]` ends in `register!`, which puts a reference to its descriptor into one section of
//! the binary. No code runs before `main`. If the linker can't do that (WebAssembly, Miri, feature
//! `macros` off) the macro expands to nothing.

use std::sync::LazyLock;

use super::{JobDescriptor, Registry};
use crate::{Error, ErrorKind, Result};

#[cfg(all(feature = "macros", not(target_family = "wasm"), not(miri)))]
pub(crate) mod section {
    use crate::registry::JobDescriptor;

    pub use linkme;

    /// Named after the version that defines its layout: one program may contain two versions of
    /// bgjob.
    #[linkme::distributed_slice]
    pub static BGJOB_V0_1_JOBS: [&'static JobDescriptor];

    /// The jobs that other programs run.
    #[linkme::distributed_slice]
    pub static BGJOB_V0_1_SIGNATURES: [&'static JobDescriptor];

    pub(super) fn jobs() -> Option<&'static [&'static JobDescriptor]> {
        Some(&BGJOB_V0_1_JOBS)
    }

    pub(super) fn signatures() -> &'static [&'static JobDescriptor] {
        &BGJOB_V0_1_SIGNATURES
    }

    // bgjob's own unit tests list their jobs: under `forbid(unsafe_code)` only another crate's
    // macro may name a section.
    #[cfg(not(test))]
    #[doc(hidden)]
    #[macro_export]
    macro_rules! __register {
        ($descriptor:expr) => {
            #[$crate::__private::linkme::distributed_slice($crate::__private::BGJOB_V0_1_JOBS)]
            #[linkme(crate = $crate::__private::linkme)]
            static __LINKED: &$crate::registry::JobDescriptor = $descriptor;
        };
    }

    #[cfg(not(test))]
    #[doc(hidden)]
    #[macro_export]
    macro_rules! __register_signature {
        ($descriptor:expr) => {
            #[$crate::__private::linkme::distributed_slice(
                $crate::__private::BGJOB_V0_1_SIGNATURES
            )]
            #[linkme(crate = $crate::__private::linkme)]
            static __LINKED: &$crate::registry::JobDescriptor = $descriptor;
        };
    }
}

#[cfg(not(all(feature = "macros", not(target_family = "wasm"), not(miri))))]
pub(crate) mod section {
    use crate::registry::JobDescriptor;

    pub(super) fn jobs() -> Option<&'static [&'static JobDescriptor]> {
        None
    }

    pub(super) fn signatures() -> &'static [&'static JobDescriptor] {
        &[]
    }
}

#[cfg(any(test, miri, target_family = "wasm", not(feature = "macros")))]
#[doc(hidden)]
#[macro_export]
macro_rules! __register {
    ($descriptor:expr) => {};
}

#[cfg(any(test, miri, target_family = "wasm", not(feature = "macros")))]
#[doc(hidden)]
#[macro_export]
macro_rules! __register_signature {
    ($descriptor:expr) => {};
}

/// The job or signature of this name or alias that is linked into this program, if there is one.
pub(crate) fn known(name: &str) -> Option<&'static JobDescriptor> {
    static LINKED: LazyLock<Registry> = LazyLock::new(|| {
        let jobs = section::jobs().into_iter().flatten();
        Registry::of(jobs.chain(section::signatures()).copied())
    });
    LINKED.get(name)
}

impl Registry {
    /// Checks that the signatures linked into this program fit the jobs they stand for.
    ///
    /// # Errors
    /// `InvalidInput` naming all differences, and where both are defined.
    pub(crate) fn check_signatures(&self) -> Result<()> {
        self.check_against(section::signatures())
    }

    /// All jobs that are linked into this program.
    ///
    /// A crate of jobs is linked only if the program names it; `use that_crate as _;` is enough.
    ///
    /// # Errors
    /// `InvalidInput` if there are none, or if two have the same name; `Unsupported` if the linker
    /// can't collect jobs (WebAssembly, Miri, feature `macros` off).
    pub fn linked() -> Result<Self> {
        let jobs = section::jobs().ok_or_else(|| {
            Error::new(
                ErrorKind::Unsupported,
                "this build can't collect its jobs at link time (WebAssembly, Miri, or bgjob \
                 without its feature `macros`): list them with `Registry::new().with::<my_job>()`",
            )
        })?;
        if jobs.is_empty() && !section::signatures().is_empty() {
            return Err(Error::invalid(
                "only signatures of jobs (`#[job(extern)]`) are linked into this program: it can \
                 enqueue them; a program that runs them links the functions",
            ));
        }
        if jobs.is_empty() {
            return Err(Error::invalid(
                "no job is linked into this program: annotate an async fn with `#[job]`; where the \
                 jobs live in another crate, name it once: `use that_crate as _;`",
            ));
        }
        let registry = Self::of(jobs.iter().copied());
        registry.check()?;
        Ok(registry)
    }
}
