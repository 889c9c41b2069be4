//! The whole attribute: tokens in, tokens out, without the compiler.

use proc_macro2::TokenStream;

use crate::{args::Args, errors::Errors, expand, input::JobFn, model::Job, options::Options};

/// The original function, the mistakes found, and the generated items.
pub(crate) fn expand_job(args: TokenStream, item: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let options = Options::new(Args::parse(args, &mut errors), &mut errors);
    let function = JobFn::parse(&item, &mut errors);
    // A function without a body is not a valid item; everything else is left to the compiler.
    let is_signature = |function: &JobFn| options.signature.is_some() && !function.has_body;
    let kept = if function.as_ref().is_some_and(is_signature) {
        TokenStream::new()
    } else {
        item
    };
    let job = function.and_then(|function| Job::new(options, function, &mut errors));
    let generated = match job {
        Some(job) if errors.is_empty() => expand::whole(&job),
        Some(job) => expand::stub(&job),
        None => TokenStream::new(),
    };
    // The function's own tokens come first, untouched: editors complete in a half-typed body.
    let mut all = kept;
    all.extend(errors.into_tokens());
    all.extend(generated);
    all
}
