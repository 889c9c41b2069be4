//! The `#[job]` attribute of [bgjob](https://docs.rs/bgjob), where it is documented.
//!
//! Three phases: `args` and `input` read, `options` and `model` check, `expand` writes.
//! All mistakes are told in one go, and the function itself is passed on as it was, whatever is
//! wrong with its attribute.

mod args;
mod errors;
mod expand;
mod input;
mod literal;
mod model;
mod nearest;
mod options;
#[cfg(test)]
mod tests;

use proc_macro2::TokenStream;

use crate::{args::Args, errors::Errors, input::JobFn, model::Job, options::Options};

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

fn expand_job(args: TokenStream, item: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let options = Options::new(Args::parse(args, &mut errors), &mut errors);
    let function = JobFn::parse(&item, &mut errors);
    let job = function.and_then(|function| Job::new(options, function, &mut errors));
    let generated = match job {
        Some(job) if errors.is_empty() => expand::whole(&job),
        Some(job) => expand::stub(&job),
        None => TokenStream::new(),
    };
    // The function's own tokens come first, untouched: editors complete in a half-typed body.
    let mut all = item;
    all.extend(errors.into_tokens());
    all.extend(generated);
    all
}
