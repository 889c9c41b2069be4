//! `#[job(…)]` → [`Args`]: the given arguments, each with its value and its span.
//!
//! [`options`](crate::options) interprets the values.

use proc_macro2::{Ident, TokenStream, TokenTree};
use syn::{
    Expr, LitStr, Token,
    ext::IdentExt,
    parse::{ParseStream, Parser},
};

use crate::{elsewhere::elsewhere, errors::Errors, nearest::did_you_mean};

/// Every argument, each with an example.
pub(crate) const ARGUMENTS: [(&str, &str); 16] = [
    ("name", "name = \"send_mail\""),
    ("aliases", "aliases = [\"old_name\"]"),
    ("queue", "queue = \"mail\""),
    ("priority", "priority = \"high\""),
    ("max_attempts", "max_attempts = 5"),
    ("max_crashes", "max_crashes = 3"),
    ("backoff", "backoff = \"exponential(5s, max 1h)\""),
    ("timeout", "timeout = \"30s\""),
    ("expires", "expires = \"1h\""),
    ("deadline", "deadline = \"1d\""),
    ("retain", "retain = \"7d\""),
    ("version", "version = 1"),
    ("upgrade", "upgrade = path::of_a_function"),
    ("blocking", "blocking"),
    ("extern", "extern"),
    ("crate", "crate = path::to::bgjob"),
];

/// The arguments that were given: known ones, each once.
#[derive(Default)]
pub(crate) struct Args(Vec<Arg>);

/// One argument: `key`, or `key = value`.
pub(crate) struct Arg {
    pub(crate) key: Ident,
    pub(crate) value: Option<Expr>,
}

impl Args {
    /// Reads the arguments in the parentheses. A mistake costs only the argument it is in.
    pub(crate) fn parse(tokens: TokenStream, errors: &mut Errors) -> Self {
        let mut args = Self::default();
        let read = |input: ParseStream<'_>| {
            while !input.is_empty() {
                match parse_arg(input) {
                    Ok(arg) => args.add(arg, errors),
                    Err(error) => errors.add(error),
                }
                skip_to_next(input)?;
            }
            Ok(())
        };
        if let Err(error) = Parser::parse2(read, tokens) {
            errors.add(error);
        }
        args
    }

    /// Takes an argument out.
    pub(crate) fn take(&mut self, key: &str) -> Option<Arg> {
        let place = self.0.iter().position(|arg| arg.key == key)?;
        Some(self.0.swap_remove(place))
    }

    fn add(&mut self, arg: Arg, errors: &mut Errors) {
        let key = arg.key.to_string();
        let known = ARGUMENTS.map(|(key, _)| key);
        if !known.contains(&key.as_str()) {
            let hint = match (elsewhere(&key), did_you_mean(&key, &known)) {
                (Some(ours), _) => format!(": {}", ours.advice(arg.value.as_ref())),
                (None, hint) if hint.is_empty() => format!("; there are {}", known.join(", ")),
                (None, hint) => hint,
            };
            errors.on(&arg.key, format!("`#[job]` has no argument `{key}`{hint}"));
        } else if self.0.iter().any(|other| other.key == arg.key) {
            errors.on(&arg.key, format!("`{key}` is given twice: remove one"));
        } else {
            self.0.push(arg);
        }
    }
}

/// How an argument is written, for messages.
pub(crate) fn example(key: &str) -> &'static str {
    let found = ARGUMENTS.iter().find(|(known, _)| *known == key);
    found.map_or("key = value", |(_, example)| example)
}

fn parse_arg(input: ParseStream<'_>) -> syn::Result<Arg> {
    if let Ok(text) = input.fork().parse::<LitStr>() {
        // The error is on the literal itself: the most common slip is to leave out its key.
        input.parse::<LitStr>()?;
        let message = "an argument has a key: for the job's name write `name = \"…\"`";
        return Err(syn::Error::new(text.span(), message));
    }
    let key = Ident::parse_any(input).map_err(|e| {
        syn::Error::new(e.span(), "expected an argument such as `queue = \"mail\"`")
    })?;
    if input.is_empty() || input.peek(Token![,]) {
        return Ok(Arg { key, value: None });
    }
    let example = example(&key.to_string());
    if !input.peek(Token![=]) {
        return Err(input.error(format!("expected `=` or `,` here, as in `{example}`")));
    }
    input.parse::<Token![=]>()?;
    if input.is_empty() || input.peek(Token![,]) {
        let message = format!("`{key}` has no value: write `{example}`");
        return Err(syn::Error::new(key.span(), message));
    }
    let value = input.parse::<Expr>()?;
    if input.is_empty() || input.peek(Token![,]) {
        return Ok(Arg {
            key,
            value: Some(value),
        });
    }
    Err(input.error("expected `,` before the next argument"))
}

/// Skips to after the next comma, whatever stands before it.
fn skip_to_next(input: ParseStream<'_>) -> syn::Result<()> {
    while !input.is_empty() && !input.peek(Token![,]) {
        input.parse::<TokenTree>()?;
    }
    input.parse::<Option<Token![,]>>()?;
    Ok(())
}
