//! Schemes collected by the linker.
//!
//! Each `register_scheme!` puts a reference to its scheme into one section of the binary. No code
//! runs before `main`. Where the linker can't do that (WebAssembly, Miri, feature `linked` off) the
//! macro expands to nothing.

use super::Scheme;

#[cfg(all(feature = "linked", not(target_family = "wasm"), not(miri)))]
mod section {
    use super::Scheme;

    pub use linkme;

    /// Named after the version that defines its layout: one program may contain two versions.
    #[linkme::distributed_slice]
    pub static BGJOB_CORE_V0_1_SCHEMES: [&'static Scheme];

    /// Makes a store or a queue known to `JobManager::connect` by the scheme of its URL.
    ///
    /// A program that uses it names its crate once, as in `use bgjob_mine as _;`: the linker leaves
    /// out a crate that nobody names. Where nothing can be collected by the linker (WebAssembly,
    /// Miri, feature `macros` of `bgjob` or `linked` of `bgjob-core` off) it does nothing, and
    /// `JobManager::builder` takes the opened store. Of two schemes with one name none is opened.
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use bgjob::{JobManager, JobStore, providers::memory::MemoryStore, store::{Opening, Scheme}};
    ///
    /// fn open(url: &str) -> Opening<'_, dyn JobStore> {
    ///     Box::pin(async move {
    ///         let _folder = url.strip_prefix("mine:");
    ///         Ok(Arc::new(MemoryStore::new()) as Arc<dyn JobStore>)
    ///     })
    /// }
    ///
    /// bgjob::register_scheme!(Scheme::store("mine", open));
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> bgjob::Result<()> {
    /// let jobs = JobManager::connect("mine:folder").await?;
    /// # drop(jobs); Ok(()) }
    /// ```
    #[macro_export]
    macro_rules! register_scheme {
        ($scheme:expr) => {
            const _: () = {
                static SCHEME: $crate::store::Scheme = $scheme;
                #[$crate::__private::linkme::distributed_slice(
                    $crate::__private::BGJOB_CORE_V0_1_SCHEMES
                )]
                #[linkme(crate = $crate::__private::linkme)]
                static __LINKED: &$crate::store::Scheme = &SCHEME;
            };
        };
    }
}

#[cfg(all(feature = "linked", not(target_family = "wasm"), not(miri)))]
pub use section::{BGJOB_CORE_V0_1_SCHEMES, linkme};

#[cfg(any(not(feature = "linked"), target_family = "wasm", miri))]
#[doc(hidden)]
#[macro_export]
macro_rules! register_scheme {
    ($scheme:expr) => {
        const _: $crate::store::Scheme = $scheme;
    };
}

/// The stores and queues whose crates are linked into this program.
#[doc(hidden)]
pub fn schemes() -> &'static [&'static Scheme] {
    #[cfg(all(feature = "linked", not(target_family = "wasm"), not(miri)))]
    return &BGJOB_CORE_V0_1_SCHEMES;
    #[cfg(any(not(feature = "linked"), target_family = "wasm", miri))]
    &[]
}
