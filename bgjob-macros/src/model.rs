//! [`Options`] and [`JobFn`] → [`Job`]: the only step that rejects a function.

use proc_macro2::{Ident, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::{
    Attribute, Expr, ExprLit, FnArg, Lit, Meta, Path, ReturnType, Signature, Type, Visibility,
    ext::IdentExt, parse_quote,
};

use crate::{errors::Errors, input::JobFn, literal, options::Options};

/// A job that is right by construction: all that [`expand`](crate::expand) needs.
pub(crate) struct Job {
    pub(crate) krate: Path,
    pub(crate) vis: Visibility,
    pub(crate) ident: Ident,
    /// The name that stored jobs carry.
    pub(crate) name: String,
    /// The `#[cfg]`s of the function, for all generated items.
    pub(crate) cfgs: Vec<TokenStream>,
    /// `#[deprecated]` and `#[doc(hidden)]`, for the handle only.
    pub(crate) handle_attrs: Vec<TokenStream>,
    /// The first paragraph of the function's docs.
    pub(crate) summary: Vec<String>,
    pub(crate) metadata: Type,
    pub(crate) arguments: Vec<Type>,
    pub(crate) returns: Type,
    pub(crate) options: Options,
}

impl Job {
    /// Checks the function. `None` if no handle can be made of it.
    pub(crate) fn new(options: Options, function: JobFn, errors: &mut Errors) -> Option<Self> {
        let JobFn {
            attrs,
            vis,
            sig,
            has_body,
        } = function;
        let name = job_name(&options, &sig.ident, errors);
        let mut unfit = Errors::default();
        check_kind(&sig, &options, &mut unfit);
        let types = argument_types(&sig, &mut unfit);
        check_types(&types, &sig.output, &mut unfit);
        check_body(has_body, &sig, &types, &options, errors);
        if !unfit.is_empty() {
            errors.append(unfit);
            return None;
        }
        let returns = match sig.output {
            ReturnType::Default => parse_quote!(()),
            ReturnType::Type(_, returns) => *returns,
        };
        let mut types = types.into_iter();
        Some(Self {
            krate: options
                .krate
                .clone()
                .unwrap_or_else(|| parse_quote!(::bgjob)),
            vis,
            ident: sig.ident,
            name,
            cfgs: kept(&attrs, &["cfg"]),
            handle_attrs: kept(&attrs, &["deprecated"])
                .into_iter()
                .chain(hidden(&attrs))
                .collect(),
            summary: summary(&attrs),
            metadata: types.next()?,
            arguments: types.collect(),
            returns,
            options,
        })
    }
}

/// The given name, or the function's own. No alias may equal it.
fn job_name(options: &Options, ident: &Ident, errors: &mut Errors) -> String {
    let own = ident.unraw().to_string();
    let name = match &options.name {
        Some(name) => name.value(),
        None => {
            if literal::job_name(&own).is_err() {
                let message = "this can't be a job's name, which is 1 to 128 bytes of \
                               `A-Z a-z 0-9 . _ : -`: give one with `name = \"…\"`";
                errors.on(ident, message);
            }
            own
        }
    };
    for alias in options.aliases.iter().filter(|alias| alias.value() == name) {
        errors.on(
            alias,
            format!("the alias `{name}` is the job's own name: remove it"),
        );
    }
    name
}

/// The function must be plain, async unless it blocks, and without generics.
fn check_kind(sig: &Signature, options: &Options, errors: &mut Errors) {
    const PLAIN: &str = "a job must be a plain `async fn`: remove this";
    match (&sig.asyncness, options.blocking) {
        // The other program's body decides how the job runs.
        _ if options.signature.is_some() => {}
        (None, None) => errors.on(
            sig.fn_token,
            "a job must be an `async fn`; for code that blocks its thread say `#[job(blocking)]`",
        ),
        (Some(_), Some(blocking)) => errors.at(
            blocking,
            "`blocking` is for a plain `fn`: remove it, or the `async` before `fn`",
        ),
        _ => {}
    }
    if let Some(keyword) = &sig.constness {
        errors.on(keyword, PLAIN);
    }
    if let syn::Safety::Unsafe(keyword) = &sig.safety {
        errors.on(keyword, PLAIN);
    }
    if let Some(abi) = &sig.abi {
        errors.on(abi, PLAIN);
    }
    if let Some(variadic) = &sig.variadic {
        errors.on(variadic.dots, PLAIN);
    }
    if !sig.generics.params.is_empty() {
        let message = "a job can't be generic: it is registered as one concrete function; call a \
                       generic one from it";
        errors.on(&sig.generics, message);
    } else if let Some(clause) = &sig.generics.where_clause {
        errors.on(
            clause,
            "a job has no `where` clause: it is one concrete function",
        );
    }
}

/// Checks for a body, or `extern` in its place. With `extern`, extractors and `upgrade` are
/// mistakes, as they concern only the body.
fn check_body(
    has_body: bool,
    sig: &Signature,
    types: &[Type],
    options: &Options,
    errors: &mut Errors,
) {
    match (options.signature, has_body) {
        (None, true) => return,
        (None, false) => {
            let message = "a job has a body; where another program runs it, write `#[job(extern)]`";
            return errors.on(&sig.ident, message);
        }
        (Some(signature), true) => {
            let message = "with `extern` there is no body: end the function in `;`, or remove this";
            errors.at(signature, message);
        }
        (Some(_), false) => {}
    }
    for ty in types.iter().skip(1) {
        let message = "with `extern` a job takes its metadata alone: remove this; extractors stand \
                       where its body is";
        errors.on(ty, message);
    }
    if let Some(upgrade) = &options.upgrade {
        let message = "old metadata is upgraded where the body is: remove `upgrade` here";
        errors.on(upgrade, message);
    }
}

/// The types of the arguments, the metadata's first.
fn argument_types(sig: &Signature, errors: &mut Errors) -> Vec<Type> {
    if sig.inputs.is_empty() {
        let message = "a job takes its metadata as first argument: write `_: ()` for none";
        errors.on(&sig.ident, message);
    }
    let mut types = Vec::new();
    for input in &sig.inputs {
        match input {
            FnArg::Receiver(receiver) => errors.on(
                receiver,
                "a job is a free function, not a method: take what it needs as `State<T>`",
            ),
            FnArg::Typed(argument) => {
                let cfg = argument.attrs.iter().find(|attr| is_cfg(attr));
                if let Some(cfg) = cfg {
                    errors.on(cfg, "the arguments of a job can't depend on `cfg`");
                }
                types.push((*argument.ty).clone());
            }
        }
    }
    types
}

/// Each type must be a concrete one that borrows nothing.
fn check_types(types: &[Type], output: &ReturnType, errors: &mut Errors) {
    for (place, ty) in types.iter().enumerate() {
        let (what, made) = match place {
            0 => ("metadata", "metadata is decoded"),
            _ => ("extractor", "an extractor is made"),
        };
        if says_impl(ty.to_token_stream()) {
            errors.on(
                ty,
                format!("name a concrete {what} type instead of `impl Trait`"),
            );
        } else if borrows(ty.to_token_stream()) {
            errors.on(ty, format!("{made} anew for each run, so take it by value"));
        }
    }
    if let ReturnType::Type(_, ty) = output
        && says_impl(ty.to_token_stream())
    {
        errors.on(ty, "name a concrete result type instead of `impl Trait`");
    }
}

fn says_impl(tokens: TokenStream) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(ident) => ident == "impl",
        TokenTree::Group(group) => says_impl(group.stream()),
        _ => false,
    })
}

/// Whether the tokens contain a `&`, or a lifetime other than `'static`.
fn borrows(tokens: TokenStream) -> bool {
    let mut tokens = tokens.into_iter();
    while let Some(token) = tokens.next() {
        let borrows = match token {
            TokenTree::Punct(punct) if punct.as_char() == '\'' => tokens
                .next()
                .is_some_and(|lifetime| lifetime.to_string() != "static"),
            TokenTree::Punct(punct) => punct.as_char() == '&',
            TokenTree::Group(group) => borrows(group.stream()),
            _ => false,
        };
        if borrows {
            return true;
        }
    }
    false
}

fn is_cfg(attr: &Attribute) -> bool {
    attr.path().is_ident("cfg") || attr.path().is_ident("cfg_attr")
}

/// The attributes with these names, including those inside a `cfg_attr`:
/// `#[cfg_attr(unix, cfg(foo), inline)]` → `#[cfg_attr(unix, cfg(foo))]`
fn kept(attrs: &[Attribute], names: &[&str]) -> Vec<TokenStream> {
    let keep = |attr: &Attribute| kept_meta(attr.meta.to_token_stream(), names);
    let metas = attrs.iter().filter_map(keep);
    metas.map(|meta| quote!(#[#meta])).collect()
}

fn kept_meta(meta: TokenStream, names: &[&str]) -> Option<TokenStream> {
    let mut tokens = meta.clone().into_iter();
    let TokenTree::Ident(name) = tokens.next()? else {
        return None;
    };
    if names.iter().any(|kept| name == kept) {
        return Some(meta);
    }
    let TokenTree::Group(inner) = tokens.next()? else {
        return None;
    };
    if name != "cfg_attr" {
        return None;
    }
    let mut parts = split_at_commas(inner.stream()).into_iter();
    let condition = parts.next()?;
    let kept: Vec<_> = parts.filter_map(|part| kept_meta(part, names)).collect();
    (!kept.is_empty()).then(|| quote!(cfg_attr(#condition, #(#kept),*)))
}

fn split_at_commas(tokens: TokenStream) -> Vec<TokenStream> {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    tokens
        .split(|token| matches!(token, TokenTree::Punct(punct) if punct.as_char() == ','))
        .map(|part| part.iter().cloned().collect())
        .collect()
}

/// `#[doc(hidden)]`, if the function has it.
fn hidden(attrs: &[Attribute]) -> Option<TokenStream> {
    let is_hidden = |attr: &&Attribute| {
        attr.path().is_ident("doc")
            && attr
                .parse_args::<Ident>()
                .is_ok_and(|word| word == "hidden")
    };
    attrs.iter().find(is_hidden).map(ToTokens::to_token_stream)
}

/// The lines of the docs up to the first empty one.
fn summary(attrs: &[Attribute]) -> Vec<String> {
    let line = |attr: &Attribute| match &attr.meta {
        Meta::NameValue(doc) if doc.path.is_ident("doc") => match &doc.value {
            Expr::Lit(ExprLit {
                lit: Lit::Str(text),
                ..
            }) => Some(text.value()),
            _ => None,
        },
        _ => None,
    };
    let lines = attrs.iter().filter_map(line);
    lines.take_while(|line| !line.trim().is_empty()).collect()
}
