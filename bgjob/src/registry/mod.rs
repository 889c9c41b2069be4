//! The known jobs: name → function.
//!
//! A [`Registry`] is built at link time ([`Registry::linked`]) or by hand ([`Registry::new`] and
//! [`with`](Registry::with)).

mod descriptor;
pub(crate) mod linked;
mod suggest;
mod table;

pub use descriptor::{Handler, HandlerFuture, JobDescriptor, ReadBack};
pub(crate) use linked::known;
pub use table::Registry;

/// A job, as a type. `#[job]` generates it beside the function.
///
/// The type has the function's name, lives in the type namespace and has no values.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a job",
    label = "not a job",
    note = "name a function that has the `#[job]` attribute, as in `.with::<send_welcome>()`; \
            where it lives in another module, `use` it first"
)]
pub trait JobItem {
    /// The job's name, which stored jobs carry.
    const NAME: &'static str;

    /// The job's descriptor.
    fn descriptor() -> &'static JobDescriptor;
}
