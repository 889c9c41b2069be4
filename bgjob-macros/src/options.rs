//! [`Args`] → [`Options`]: what the arguments mean. All mistakes in a single argument are found
//! here.

use std::{fmt::Display, time::Duration};

use proc_macro2::{Ident, Span};
use syn::{Expr, Lit, LitStr, Path};

use crate::{
    args::{Arg, Args, example},
    errors::Errors,
    literal::{self, Backoff, Mistake},
    nearest::did_you_mean,
};

/// The most errors or crashes that a job may allow itself.
const COUNT_MAX: u32 = 1000;

/// The parsed arguments of `#[job]`. `None` if an argument was not given (or is wrong).
#[derive(Default)]
pub(crate) struct Options {
    pub(crate) name: Option<LitStr>,
    pub(crate) aliases: Vec<LitStr>,
    pub(crate) queue: Option<LitStr>,
    /// The name of the variant.
    pub(crate) priority: Option<&'static str>,
    pub(crate) max_attempts: Option<u32>,
    pub(crate) max_crashes: Option<u32>,
    pub(crate) backoff: Option<Wait>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) expires: Option<Duration>,
    pub(crate) deadline: Option<Duration>,
    pub(crate) retain: Option<Duration>,
    pub(crate) version: Option<u32>,
    pub(crate) upgrade: Option<Path>,
    /// The span of `blocking`.
    pub(crate) blocking: Option<Span>,
    /// The span of `extern`, which says that another program has the body.
    pub(crate) signature: Option<Span>,
    pub(crate) krate: Option<Path>,
}

/// How a job waits for its next attempt.
pub(crate) enum Wait {
    Text(Backoff),
    Function(Path),
}

impl Options {
    /// Parses the arguments. A wrong one is noted and left out.
    pub(crate) fn new(mut args: Args, errors: &mut Errors) -> Self {
        let mut reader = Reader(errors);
        let mut get = |key| args.take(key);
        let options = Self {
            name: get("name").and_then(|arg| reader.name(&arg, literal::job_name)),
            aliases: get("aliases").map_or_else(Vec::new, |arg| reader.aliases(&arg)),
            queue: get("queue").and_then(|arg| reader.name(&arg, literal::queue_name)),
            priority: get("priority").and_then(|arg| reader.priority(&arg)),
            max_attempts: get("max_attempts").and_then(|arg| reader.number(&arg, 1, COUNT_MAX)),
            max_crashes: get("max_crashes").and_then(|arg| reader.number(&arg, 1, COUNT_MAX)),
            backoff: get("backoff").and_then(|arg| reader.backoff(&arg)),
            timeout: get("timeout").and_then(|arg| reader.positive(&arg)),
            expires: get("expires").and_then(|arg| reader.positive(&arg)),
            deadline: get("deadline").and_then(|arg| reader.positive(&arg)),
            retain: get("retain").and_then(|arg| reader.duration(&arg).map(|(span, _)| span)),
            version: None,
            upgrade: None,
            blocking: get("blocking").and_then(|arg| reader.flag(&arg)),
            signature: get("extern").and_then(|arg| reader.flag(&arg)),
            krate: get("crate").and_then(|arg| reader.path(&arg)),
        };
        let (version, upgrade) = reader.version(get("version"), get("upgrade"));
        Self {
            version,
            upgrade,
            ..options
        }
    }
}

/// Reads values and notes what is wrong with them.
struct Reader<'a>(&'a mut Errors);

impl Reader<'_> {
    /// Notes that the value is missing or has another type, and how to write it.
    fn mistyped<T>(&mut self, arg: &Arg, takes: impl Display) -> Option<T> {
        let (key, example) = (&arg.key, example(&arg.key.to_string()));
        match &arg.value {
            Some(value) => self
                .0
                .on(value, format!("`{key}` takes {takes}: `{example}`")),
            None => self
                .0
                .on(key, format!("`{key}` has no value: write `{example}`")),
        }
        None
    }

    fn mistake<T>(&mut self, text: &LitStr, mistake: &Mistake) -> Option<T> {
        self.0.on(text, mistake.draw(&text.value()));
        None
    }

    fn name(&mut self, arg: &Arg, check: fn(&str) -> Result<(), Mistake>) -> Option<LitStr> {
        let Some(text) = string(arg.value.as_ref()) else {
            return self.mistyped(arg, "a string");
        };
        match check(&text.value()) {
            Ok(()) => Some(text),
            Err(mistake) => self.mistake(&text, &mistake),
        }
    }

    fn aliases(&mut self, arg: &Arg) -> Vec<LitStr> {
        let Some(Expr::Array(array)) = arg.value.as_ref().map(ungrouped) else {
            self.mistyped::<()>(arg, "a list of names");
            return Vec::new();
        };
        let mut aliases: Vec<LitStr> = Vec::new();
        for element in &array.elems {
            let Some(text) = string(Some(element)) else {
                self.0
                    .on(element, "an alias is a string: `aliases = [\"old_name\"]`");
                continue;
            };
            let value = text.value();
            if let Err(mistake) = literal::job_name(&value) {
                self.mistake::<()>(&text, &mistake);
            } else if aliases.iter().any(|other| other.value() == value) {
                self.0.on(
                    &text,
                    format!("the alias `{value}` is given twice: remove one"),
                );
            } else {
                aliases.push(text);
            }
        }
        aliases
    }

    fn priority(&mut self, arg: &Arg) -> Option<&'static str> {
        const WORDS: [&str; 4] = ["low", "normal", "high", "critical"];
        const VARIANTS: [&str; 4] = ["Low", "Normal", "High", "Critical"];
        let takes = "\"low\", \"normal\", \"high\" or \"critical\"";
        let Some(text) = string(arg.value.as_ref()) else {
            return self.mistyped(arg, takes);
        };
        let value = text.value();
        let place = WORDS.iter().position(|word| *word == value);
        if place.is_none() {
            let hint = did_you_mean(&value.to_lowercase(), &WORDS);
            self.0.on(&text, format!("`priority` takes {takes}{hint}"));
        }
        place.map(|place| VARIANTS[place])
    }

    fn number(&mut self, arg: &Arg, min: u32, max: u32) -> Option<u32> {
        let takes = format!("a whole number from {min} to {max}");
        let Some(Expr::Lit(literal)) = arg.value.as_ref().map(ungrouped) else {
            return self.mistyped(arg, takes);
        };
        let Lit::Int(number) = &literal.lit else {
            return self.mistyped(arg, takes);
        };
        match number.base10_parse::<u32>() {
            Ok(value) if (min..=max).contains(&value) && number.suffix().is_empty() => Some(value),
            _ => self.mistyped(arg, takes),
        }
    }

    fn duration(&mut self, arg: &Arg) -> Option<(Duration, LitStr)> {
        let Some(text) = string(arg.value.as_ref()) else {
            if let (Some(value), Some(seconds)) = (&arg.value, seconds(arg.value.as_ref())) {
                let key = &arg.key;
                let text = format!("`{key}` takes a time as a string: `{key} = \"{seconds}s\"`");
                self.0.on(value, text);
                return None;
            }
            return self.mistyped(arg, "a time as a string");
        };
        match literal::duration(&text.value()) {
            Ok(span) => Some((span, text)),
            Err(mistake) => self.mistake(&text, &mistake),
        }
    }

    fn positive(&mut self, arg: &Arg) -> Option<Duration> {
        let (span, text) = self.duration(arg)?;
        if span.is_zero() {
            let key = &arg.key;
            self.0.on(
                text,
                format!("`{key}` can't be zero: leave it out for the default"),
            );
            return None;
        }
        Some(span)
    }

    fn backoff(&mut self, arg: &Arg) -> Option<Wait> {
        if let Some(Expr::Path(path)) = arg.value.as_ref().map(ungrouped) {
            return Some(Wait::Function(path.path.clone()));
        }
        let Some(text) = string(arg.value.as_ref()) else {
            return self.mistyped(arg, "a string or the path of a `fn(u32) -> Duration`");
        };
        match literal::backoff(&text.value()) {
            Ok(backoff) => Some(Wait::Text(backoff)),
            Err(mistake) => self.mistake(&text, &mistake),
        }
    }

    /// `upgrade` is for jobs of older versions, so the version must be greater than 0.
    fn version(
        &mut self,
        version: Option<Arg>,
        upgrade: Option<Arg>,
    ) -> (Option<u32>, Option<Path>) {
        let given = version.is_some();
        let number = version.and_then(|arg| self.number(&arg, 0, u32::MAX));
        let path = upgrade.as_ref().and_then(|arg| self.path(arg));
        // A wrong version has its own mistake noted.
        let none_older = if given { number == Some(0) } else { true };
        if let (Some(upgrade), true) = (upgrade, none_older) {
            let message = "`upgrade` turns older metadata into the current version: say which, \
                           `version = 1` or higher";
            self.0.on(&upgrade.key, message);
        }
        (number, path)
    }

    fn path(&mut self, arg: &Arg) -> Option<Path> {
        match arg.value.as_ref().map(ungrouped) {
            Some(Expr::Path(path)) if path.qself.is_none() => Some(path.path.clone()),
            _ => self.mistyped(arg, "a path"),
        }
    }

    fn flag(&mut self, arg: &Arg) -> Option<Span> {
        let key: &Ident = &arg.key;
        if let Some(value) = &arg.value {
            self.0.on(
                value,
                format!("`{key}` takes no value: write `{key}` alone"),
            );
        }
        Some(key.span())
    }
}

/// `300` and `Duration::from_secs(300)` → 300
fn seconds(value: Option<&Expr>) -> Option<u64> {
    let literal = match ungrouped(value?) {
        Expr::Call(call) => match &*call.func {
            Expr::Path(path) if path.path.segments.last()?.ident == "from_secs" => {
                call.args.first().map(ungrouped)?
            }
            _ => return None,
        },
        value => value,
    };
    match literal {
        Expr::Lit(literal) => match &literal.lit {
            Lit::Int(number) => number.base10_parse().ok(),
            _ => None,
        },
        _ => None,
    }
}

/// The value without the invisible parentheses that `macro_rules!` puts around its variables.
fn ungrouped(value: &Expr) -> &Expr {
    match value {
        Expr::Group(group) => ungrouped(&group.expr),
        value => value,
    }
}

fn string(value: Option<&Expr>) -> Option<LitStr> {
    match ungrouped(value?) {
        Expr::Lit(literal) => match &literal.lit {
            Lit::Str(text) if text.suffix().is_empty() => Some(text.clone()),
            _ => None,
        },
        _ => None,
    }
}
