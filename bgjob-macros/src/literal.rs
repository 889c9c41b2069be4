//! The small languages inside string literals: spans of time, backoffs, names.
//!
//! Sub-spans of a literal are not to be had on stable, so each mistake draws its own caret.

use std::time::Duration;

use crate::nearest::did_you_mean;

/// The longest span a job can ask for: ten years.
const SPAN_MAX: Duration = Duration::from_secs(10 * 365 * DAY);
const DAY: u64 = 24 * 60 * 60;
/// What `max` is where a backoff gives none.
const BACKOFF_MAX: Duration = Duration::from_secs(60 * 60);

/// A mistake in a text, and the part of the text it is in.
#[derive(Debug)]
pub(crate) struct Mistake {
    message: String,
    at: usize,
    len: usize,
}

impl Mistake {
    /// `part` must be a piece of `text`.
    fn new(text: &str, part: &str, message: impl Into<String>) -> Self {
        let at = part.as_ptr() as usize - text.as_ptr() as usize;
        Self {
            message: message.into(),
            at: text[..at].chars().count(),
            len: part.chars().count().max(1),
        }
    }

    /// The message, and under the text a caret; for the whole of a text the message alone.
    pub(crate) fn draw(&self, text: &str) -> String {
        let Self { message, at, len } = self;
        if text.is_empty() || *len >= text.chars().count() || text.contains(char::is_control) {
            return message.clone();
        }
        format!("{message}\n  {text}\n  {:at$}{}", "", "^".repeat(*len))
    }
}

/// How a job waits for its next attempt.
#[derive(Debug, PartialEq)]
pub(crate) struct Backoff {
    pub(crate) shape: Shape,
    pub(crate) jitter: bool,
}

#[derive(Debug, PartialEq)]
pub(crate) enum Shape {
    Constant(Duration),
    Linear(Duration, Duration),
    Exponential(Duration, Duration),
    Steps(Vec<Duration>),
}

/// `"30s"`, `"100ms"`, `"1h 30m"` → the time it means.
pub(crate) fn duration(text: &str) -> Result<Duration, Mistake> {
    duration_in(text, text.trim())
}

/// `part` is the piece of `text` that is read.
fn duration_in(text: &str, part: &str) -> Result<Duration, Mistake> {
    if part.is_empty() {
        return Err(Mistake::new(text, part, "expected a time such as `30s` or `1h 30m`"));
    }
    let mut total = Duration::ZERO;
    let mut rest = part;
    while !rest.is_empty() {
        let (number, unit, after) = number_and_unit(rest);
        total = total.saturating_add(quantity(text, number, unit)?);
        rest = after.trim_start();
    }
    if total > SPAN_MAX {
        return Err(Mistake::new(text, part, "at most ten years (`3650d`) are allowed"));
    }
    Ok(total)
}

/// `"1h 30m"` → `("1", "h", " 30m")`
fn number_and_unit(text: &str) -> (&str, &str, &str) {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, rest) = text.split_at(digits);
    let letters = rest
        .find(|c: char| c.is_ascii_digit() || c.is_whitespace())
        .unwrap_or(rest.len());
    let (unit, after) = rest.split_at(letters);
    (number, unit, after)
}

fn quantity(text: &str, number: &str, unit: &str) -> Result<Duration, Mistake> {
    if number.is_empty() {
        let message = "expected a whole number with a unit, such as `30s`";
        return Err(Mistake::new(text, unit, message));
    }
    let millis = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60 * 1000,
        "h" => 60 * 60 * 1000,
        "d" => DAY * 1000,
        "" => {
            let message = format!("`{number}` has no unit: write `{number}s`, or use ms, m, h or d");
            return Err(Mistake::new(text, number, message));
        }
        _ if unit.starts_with('.') => {
            let message = "only whole numbers: write `1h 30m`, not `1.5h`";
            return Err(Mistake::new(text, unit, message));
        }
        _ => {
            let message = format!("`{unit}` is no unit of time: use ms, s, m, h or d");
            return Err(Mistake::new(text, unit, message));
        }
    };
    let count = number.parse().unwrap_or(u64::MAX);
    Ok(Duration::from_millis(count.saturating_mul(millis)))
}

/// `"exponential(5s, max 1h)"` → the backoff it means.
pub(crate) fn backoff(text: &str) -> Result<Backoff, Mistake> {
    const SHAPES: [&str; 4] = ["exponential", "linear", "constant", "steps"];
    let trimmed = text.trim();
    let Some((shape, rest)) = trimmed.split_once('(') else {
        let hint = match SHAPES.contains(&trimmed) {
            true => format!("`{trimmed}` needs its waits: write `{trimmed}(5s)`"),
            false => "expected `exponential(5s, max 1h)`, `linear(5s, max 1h)`, `constant(30s)` or \
                      `steps(1s, 10s, 1m)`; the path of a function goes without quotes"
                .to_owned(),
        };
        return Err(Mistake::new(text, trimmed, hint));
    };
    let shape = shape.trim();
    let Some(inner) = rest.strip_suffix(')') else {
        return Err(Mistake::new(text, trimmed, "a backoff ends in `)`"));
    };
    let list = List::read(text, inner)?;
    match shape {
        "exponential" => list.growing(text, shape, Shape::Exponential),
        "linear" => list.growing(text, shape, Shape::Linear),
        "constant" => list.constant(text, shape),
        "steps" => list.steps(text, shape),
        _ => {
            let hint = did_you_mean(shape, &SHAPES);
            let message =
                format!("no backoff `{shape}`: use exponential, linear, constant or steps{hint}");
            Err(Mistake::new(text, shape, message))
        }
    }
}

/// What stands in the parentheses of a backoff.
#[derive(Default)]
struct List<'a> {
    inner: &'a str,
    waits: Vec<(Duration, &'a str)>,
    max: Option<(Duration, &'a str)>,
    no_jitter: bool,
}

impl<'a> List<'a> {
    fn read(text: &'a str, inner: &'a str) -> Result<Self, Mistake> {
        let mut list = Self {
            inner,
            ..Self::default()
        };
        if inner.trim().is_empty() {
            return Ok(list);
        }
        for part in inner.split(',').map(str::trim) {
            let repeated = if part.split_whitespace().eq(["no", "jitter"]) {
                std::mem::replace(&mut list.no_jitter, true)
            } else if let Some(max) = part.strip_prefix("max ") {
                let max = max.trim();
                list.max.replace((duration_in(text, max)?, max)).is_some()
            } else {
                list.waits.push((duration_in(text, part)?, part));
                false
            };
            if repeated {
                return Err(Mistake::new(text, part, format!("`{part}` is said twice")));
            }
        }
        Ok(list)
    }

    /// `exponential(first, max …)` and `linear(step, max …)`.
    fn growing(
        self,
        text: &str,
        shape: &str,
        make: fn(Duration, Duration) -> Shape,
    ) -> Result<Backoff, Mistake> {
        let (base, base_text) = self.only_wait(text, shape)?;
        if base.is_zero() {
            let message = format!("`{shape}` grows from its first wait, so that can't be zero");
            return Err(Mistake::new(text, base_text, message));
        }
        let max = match self.max {
            Some((max, max_text)) if max < base => {
                let message = format!("`max` is below the first wait of {base_text}");
                return Err(Mistake::new(text, max_text, message));
            }
            Some((max, _)) => max,
            None if base > BACKOFF_MAX => {
                let message = format!("a first wait above 1h needs a `max`: `{shape}({base_text}, max 7d)`");
                return Err(Mistake::new(text, base_text, message));
            }
            None => BACKOFF_MAX,
        };
        Ok(self.done(make(base, max)))
    }

    /// `constant(wait)`.
    fn constant(self, text: &str, shape: &str) -> Result<Backoff, Mistake> {
        let (wait, _) = self.only_wait(text, shape)?;
        self.without_max(text, shape)?;
        Ok(self.done(Shape::Constant(wait)))
    }

    /// `steps(wait, wait, …)`.
    fn steps(self, text: &str, shape: &str) -> Result<Backoff, Mistake> {
        self.without_max(text, shape)?;
        if self.waits.is_empty() {
            let message = "`steps` needs at least one wait: `steps(1s, 10s, 1m)`";
            return Err(Mistake::new(text, self.inner, message));
        }
        let waits = self.waits.iter().map(|(wait, _)| *wait).collect();
        Ok(self.done(Shape::Steps(waits)))
    }

    fn only_wait(&self, text: &str, shape: &str) -> Result<(Duration, &'a str), Mistake> {
        match self.waits[..] {
            [wait] => Ok(wait),
            [] => {
                let message = format!("`{shape}` needs its wait: `{shape}(5s)`");
                Err(Mistake::new(text, self.inner, message))
            }
            [_, (_, second), ..] => {
                let message = format!("`{shape}` takes one wait; for several use `steps(…)`");
                Err(Mistake::new(text, second, message))
            }
        }
    }

    fn without_max(&self, text: &str, shape: &str) -> Result<(), Mistake> {
        match self.max {
            Some((_, max)) => {
                Err(Mistake::new(text, max, format!("`{shape}` doesn't grow, so it has no `max`")))
            }
            None => Ok(()),
        }
    }

    fn done(&self, shape: Shape) -> Backoff {
        Backoff {
            shape,
            jitter: !self.no_jitter,
        }
    }
}

/// Checks a job's name: 1–128 bytes of `[A-Za-z0-9._:-]`.
pub(crate) fn job_name(text: &str) -> Result<(), Mistake> {
    let fits = |c: char| c.is_ascii_alphanumeric() || ".:_-".contains(c);
    name(text, "job names", "`A-Z a-z 0-9 . _ : -`", 128, fits)
}

/// Checks a queue's name: 1–64 bytes of `[a-z0-9._-]`, a letter or digit first.
pub(crate) fn queue_name(text: &str) -> Result<(), Mistake> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
    name(text, "queue names", "`a-z 0-9 . _ -`", 64, fits)?;
    match &text[..1] {
        "." | "_" | "-" => {
            Err(Mistake::new(text, &text[..1], "queue names start with a letter or digit"))
        }
        _ => Ok(()),
    }
}

fn name(
    text: &str,
    what: &str,
    letters: &str,
    max: usize,
    fits: fn(char) -> bool,
) -> Result<(), Mistake> {
    let rule = format!("{what} are 1 to {max} bytes of {letters}");
    if let Some(bad) = text.matches(|c| !fits(c)).next() {
        return Err(Mistake::new(text, bad, rule));
    }
    match text.len() {
        0 => Err(Mistake::new(text, text, format!("{rule}; this one is empty"))),
        len if len > max => Err(Mistake::new(text, text, format!("{rule}; this one has {len}"))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    #[test]
    fn durations() {
        let check = |text, millis| {
            let span = duration(text).unwrap_or_else(|m| panic!("{}", m.draw(text)));
            assert_eq!(span, Duration::from_millis(millis), "{text}");
        };
        check("100ms", 100);
        check("30s", 30_000);
        check("5m", 300_000);
        check("1h", 3_600_000);
        check("2d", 172_800_000);
        check("1h 30m", 5_400_000);
        check(" 1h30m  5s ", 5_405_000);
        check("0s", 0);
        check("3650d", 315_360_000_000);
    }

    fn mistake(text: &str, expected: &Expect) {
        let mistake = duration(text).expect_err(text);
        expected.assert_eq(&mistake.draw(text));
    }

    #[test]
    fn mistakes_in_durations() {
        mistake("30", &expect!["`30` has no unit: write `30s`, or use ms, m, h or d"]);
        mistake(
            "1h 5",
            &expect![[r#"
                `5` has no unit: write `5s`, or use ms, m, h or d
                  1h 5
                     ^"#]],
        );
        mistake(
            "1h 5 m",
            &expect![[r#"
                `5` has no unit: write `5s`, or use ms, m, h or d
                  1h 5 m
                     ^"#]],
        );
        mistake(
            "5min",
            &expect![[r#"
                `min` is no unit of time: use ms, s, m, h or d
                  5min
                   ^^^"#]],
        );
        mistake(
            "1.5h",
            &expect![[r#"
                only whole numbers: write `1h 30m`, not `1.5h`
                  1.5h
                   ^"#]],
        );
        mistake("soon", &expect!["expected a whole number with a unit, such as `30s`"]);
        mistake("", &expect!["expected a time such as `30s` or `1h 30m`"]);
        mistake("  ", &expect![[r#"
            expected a time such as `30s` or `1h 30m`
    
              ^"#]]);
        mistake("3651d", &expect!["at most ten years (`3650d`) are allowed"]);
        mistake(
            "99999999999999999999999d",
            &expect!["at most ten years (`3650d`) are allowed"],
        );
        mistake(
            "5µs",
            &expect![[r#"
                `µs` is no unit of time: use ms, s, m, h or d
                  5µs
                   ^^"#]],
        );
    }

    fn check(text: &str, expected: &Expect) {
        let said = match backoff(text) {
            Ok(Backoff { shape, jitter }) => format!("{shape:?}, jitter {jitter}"),
            Err(mistake) => mistake.draw(text),
        };
        expected.assert_eq(&said);
    }

    #[test]
    fn backoffs() {
        check(
            "exponential(5s, max 1h)",
            &expect!["Exponential(5s, 3600s), jitter true"],
        );
        check("exponential( 5s )", &expect!["Exponential(5s, 3600s), jitter true"]);
        check(
            "exponential(no jitter, max  2d, 2h)",
            &expect!["Exponential(7200s, 172800s), jitter false"],
        );
        check("linear(1s, max 1s)", &expect!["Linear(1s, 1s), jitter true"]);
        check("constant(0s)", &expect!["Constant(0ns), jitter true"]);
        check(
            "steps(1s, 10s, 1m 30s, no  jitter)",
            &expect!["Steps([1s, 10s, 90s]), jitter false"],
        );
    }

    #[test]
    fn mistakes_in_backoffs() {
        check(
            "fibonacci(1s)",
            &expect![[r#"
                no backoff `fibonacci`: use exponential, linear, constant or steps
                  fibonacci(1s)
                  ^^^^^^^^^"#]],
        );
        check(
            "lineer(1s)",
            &expect![[r#"
                no backoff `lineer`: use exponential, linear, constant or steps; did you mean `linear`?
                  lineer(1s)
                  ^^^^^^"#]],
        );
        check(
            "linear(1h, max 59m)",
            &expect![[r#"
                `max` is below the first wait of 1h
                  linear(1h, max 59m)
                                 ^^^"#]],
        );
        check(
            "linear(2h)",
            &expect![[r#"
                a first wait above 1h needs a `max`: `linear(2h, max 7d)`
                  linear(2h)
                         ^^"#]],
        );
        check(
            "linear(1s, max 1m, max 2m)",
            &expect![[r#"
                `max 2m` is said twice
                  linear(1s, max 1m, max 2m)
                                     ^^^^^^"#]],
        );
        check(
            "steps(1s, max 1m)",
            &expect![[r#"
                `steps` doesn't grow, so it has no `max`
                  steps(1s, max 1m)
                                ^^"#]],
        );
        check(
            "steps(1s,)",
            &expect![[r#"
                expected a time such as `30s` or `1h 30m`
                  steps(1s,)
                           ^"#]],
        );
        check(
            "constant(5)",
            &expect![[r#"
                `5` has no unit: write `5s`, or use ms, m, h or d
                  constant(5)
                           ^"#]],
        );
        check("constant(5s", &expect!["a backoff ends in `)`"]);
        check("constant(5s) or so", &expect!["a backoff ends in `)`"]);
        check("", &expect!["expected `exponential(5s, max 1h)`, `linear(5s, max 1h)`, `constant(30s)` or `steps(1s, 10s, 1m)`; the path of a function goes without quotes"]);
    }

    #[test]
    fn names() {
        assert!(job_name("app:send-mail.v2_X").is_ok());
        assert!(job_name(&"a".repeat(128)).is_ok());
        assert!(job_name(&"a".repeat(129)).is_err());
        assert!(job_name("a/b").is_err() && job_name("é").is_err() && job_name("").is_err());
        assert!(queue_name("0mail.out-2").is_ok() && queue_name(&"q".repeat(64)).is_ok());
        assert!(queue_name(&"q".repeat(65)).is_err() && queue_name("").is_err());
        assert!(queue_name("-a").is_err() && queue_name("A").is_err());
    }
}
