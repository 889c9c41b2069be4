//! The `#[job]` attribute of [bgjob](https://docs.rs/bgjob), where it is documented.
//!
//! Three phases: `args` and `input` read, `options` and `model` check, `expand` writes. All
//! mistakes are reported together. The function itself is passed on unchanged, whatever is wrong
//! with its attribute.

mod args;
mod attribute;
mod elsewhere;
mod errors;
mod expand;
mod input;
mod literal;
mod model;
mod nearest;
mod options;
#[cfg(test)]
mod tests;

use crate::attribute::expand_job;

/// Makes a job of an async function; documented as `bgjob::job`.
#[proc_macro_attribute]
pub fn job(
    args: proc_macro::TokenStream,
    item: proc_macro::TokenStream,
) -> proc_macro::TokenStream {
    let tokens = expand_job(args.into(), item.into());
    #[allow(clippy::print_stderr, reason = "asked for, to see what is generated")]
    if std::env::var_os("BGJOB_MACROS_DEBUG").is_some() {
        eprintln!("{tokens}");
    }
    tokens.into()
}
