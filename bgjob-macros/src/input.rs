//! The annotated item → [`JobFn`]: attributes, visibility and signature. The body is not parsed.

use proc_macro2::TokenStream;
use syn::{
    Attribute, Signature, Visibility,
    parse::{Parse, ParseStream, Parser},
};

use crate::errors::Errors;

/// The annotated function without its body: a half-typed body does no harm.
pub(crate) struct JobFn {
    pub(crate) attrs: Vec<Attribute>,
    pub(crate) vis: Visibility,
    pub(crate) sig: Signature,
    /// Whether there is a body; it is not parsed.
    pub(crate) has_body: bool,
}

impl JobFn {
    /// Reads the item. An item that is not a function is noted as a mistake.
    pub(crate) fn parse(tokens: &TokenStream, errors: &mut Errors) -> Option<Self> {
        let read = |input: ParseStream<'_>| {
            let function = input.parse::<Self>();
            let has_body = input.peek(syn::token::Brace);
            // The body, or the rest of an item that is not a function.
            input.parse::<TokenStream>()?;
            function.map(|function| Self {
                has_body,
                ..function
            })
        };
        match read.parse2(tokens.clone()) {
            Ok(function) => Some(function),
            Err(_) => {
                let item = without_attrs(tokens);
                errors.on(item, "`#[job]` goes on an `async fn`");
                None
            }
        }
    }
}

impl Parse for JobFn {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        Ok(Self {
            attrs: input.call(Attribute::parse_outer)?,
            vis: input.parse()?,
            sig: input.parse()?,
            has_body: true,
        })
    }
}

/// The first word of an item, after its attributes.
fn without_attrs(tokens: &TokenStream) -> TokenStream {
    let first = |input: ParseStream<'_>| {
        input.call(Attribute::parse_outer)?;
        let first = input.parse::<proc_macro2::TokenTree>()?;
        input.parse::<TokenStream>()?;
        Ok(first.into())
    };
    first
        .parse2(tokens.clone())
        .unwrap_or_else(|_| tokens.clone())
}
