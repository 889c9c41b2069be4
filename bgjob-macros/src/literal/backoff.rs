//! `"exponential(5s, max 1h)"` → how a job waits for its next attempt.

use std::time::Duration;

use super::{Mistake, duration::duration_in};
use crate::nearest::did_you_mean;

/// The default of `max`.
const BACKOFF_MAX: Duration = Duration::from_secs(60 * 60);

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

/// `"exponential(5s, max 1h)"` → the backoff.
pub(crate) fn backoff(text: &str) -> Result<Backoff, Mistake> {
    const SHAPES: [&str; 4] = ["exponential", "linear", "constant", "steps"];
    let trimmed = text.trim();
    let Some((shape, rest)) = trimmed.split_once('(') else {
        let hint = match SHAPES.contains(&trimmed) {
            true => format!("`{trimmed}` needs its waits: write `{trimmed}(5s)`"),
            false => {
                "expected `exponential(5s, max 1h)`, `linear(5s, max 1h)`, `constant(30s)` or \
                      `steps(1s, 10s, 1m)`; the path of a function goes without quotes"
                    .to_owned()
            }
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
            let hint = match did_you_mean(shape, &SHAPES) {
                hint if hint.is_empty() => ": use exponential, linear, constant or steps".into(),
                hint => hint,
            };
            let message = format!("there is no backoff `{shape}`{hint}");
            Err(Mistake::new(text, shape, message))
        }
    }
}

/// The arguments in the parentheses of a backoff.
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
                let message =
                    format!("a first wait above 1h needs a `max`: `{shape}({base_text}, max 7d)`");
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
            Some((_, max)) => Err(Mistake::new(
                text,
                max,
                format!("`{shape}` doesn't grow, so it has no `max`"),
            )),
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

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

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
        check(
            "exponential( 5s )",
            &expect!["Exponential(5s, 3600s), jitter true"],
        );
        check(
            "exponential(no jitter, max  2d, 2h)",
            &expect!["Exponential(7200s, 172800s), jitter false"],
        );
        check(
            "linear(1s, max 1s)",
            &expect!["Linear(1s, 1s), jitter true"],
        );
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
                there is no backoff `fibonacci`: use exponential, linear, constant or steps
                  fibonacci(1s)
                  ^^^^^^^^^"#]],
        );
        check(
            "lineer(1s)",
            &expect![[r#"
                there is no backoff `lineer`; did you mean `linear`?
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
    }
}
