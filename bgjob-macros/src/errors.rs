//! [`Errors`]: all mistakes of one `#[job]`, reported together.

use std::fmt::Display;

use proc_macro2::{Span, TokenStream};
use quote::ToTokens;

/// All mistakes found so far. Each is one sentence, on the narrowest span, that says what to do.
#[derive(Default)]
pub(crate) struct Errors(Option<syn::Error>);

impl Errors {
    /// Notes a mistake in these tokens.
    pub(crate) fn on(&mut self, tokens: impl ToTokens, message: impl Display) {
        self.add(syn::Error::new_spanned(tokens, message));
    }

    /// Notes a mistake at this place.
    pub(crate) fn at(&mut self, span: Span, message: impl Display) {
        self.add(syn::Error::new(span, message));
    }

    /// Notes a mistake that the parser found.
    pub(crate) fn add(&mut self, error: syn::Error) {
        match &mut self.0 {
            Some(all) => all.combine(error),
            none => *none = Some(error),
        }
    }

    /// Adds the mistakes of another list.
    pub(crate) fn append(&mut self, others: Self) {
        others.0.into_iter().for_each(|error| self.add(error));
    }

    /// Whether nothing was noted.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// One `compile_error!` for each mistake.
    pub(crate) fn into_tokens(self) -> TokenStream {
        self.0
            .map_or_else(TokenStream::new, |e| e.to_compile_error())
    }

    /// Each mistake with the text it is about, for tests.
    #[cfg(test)]
    pub(crate) fn listed(self) -> String {
        let line = |error: syn::Error| {
            let source = error.span().source_text().unwrap_or_default();
            format!("`{source}`: {error}\n")
        };
        self.0.into_iter().flatten().map(line).collect()
    }
}
