//! `"1h 30m"` → a span of time.

use std::time::Duration;

use super::Mistake;

/// The longest span a job can ask for: ten years.
const SPAN_MAX: Duration = Duration::from_secs(10 * 365 * DAY);
const DAY: u64 = 24 * 60 * 60;

/// `"30s"`, `"100ms"`, `"1h 30m"` → the span.
pub(crate) fn duration(text: &str) -> Result<Duration, Mistake> {
    duration_in(text, text.trim())
}

/// Parses `part`, which must be a piece of `text`.
pub(super) fn duration_in(text: &str, part: &str) -> Result<Duration, Mistake> {
    if part.is_empty() {
        return Err(Mistake::new(
            text,
            part,
            "expected a time such as `30s` or `1h 30m`",
        ));
    }
    let total = match total(text, part) {
        Ok(total) => total,
        Err(mistake) => {
            return Err(in_words(part).map_or(mistake, |ours| {
                Mistake::new(
                    text,
                    part,
                    format!("write `{ours}`: a time has ms, s, m, h or d"),
                )
            }));
        }
    };
    if total > SPAN_MAX {
        return Err(Mistake::new(
            text,
            part,
            "at most ten years (`3650d`) are allowed",
        ));
    }
    Ok(total)
}

fn total(text: &str, part: &str) -> Result<Duration, Mistake> {
    let mut total = Duration::ZERO;
    let mut rest = part;
    while !rest.is_empty() {
        let (number, unit, after) = number_and_unit(rest);
        total = total.saturating_add(quantity(text, number, unit)?);
        rest = after.trim_start();
    }
    Ok(total)
}

/// `"5 minutes"`, `"1.5h"`, `"1 hour and 30 min"` → the right spelling. `None` if there is none.
fn in_words(part: &str) -> Option<String> {
    let mut millis = 0.0;
    let mut rest = part;
    while !rest.is_empty() {
        let end = |c: char| !c.is_ascii_digit() && c != '.';
        let (number, after) = rest.split_at(rest.find(end)?);
        let after = after.trim_start();
        let end = after.find(|c: char| !c.is_alphabetic());
        let (unit, after) = after.split_at(end.unwrap_or(after.len()));
        millis += number.parse::<f64>().ok()? * millis_of(unit)?;
        let after = after.trim_start_matches([' ', ',']);
        rest = after.strip_prefix("and ").unwrap_or(after).trim_start();
    }
    let whole = millis.fract() == 0.0 && (1.0..1e15).contains(&millis);
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is whole"
    )]
    whole.then(|| written(millis as u64))
}

#[allow(clippy::cast_precision_loss, reason = "a day has few milliseconds")]
fn millis_of(unit: &str) -> Option<f64> {
    let millis = match unit.to_lowercase().as_str() {
        "ms" | "msec" | "msecs" | "milli" | "millis" | "millisecond" | "milliseconds" => 1,
        "s" | "sec" | "secs" | "second" | "seconds" => 1000,
        "m" | "min" | "mins" | "minute" | "minutes" => 60 * 1000,
        "h" | "hr" | "hrs" | "hour" | "hours" => 60 * 60 * 1000,
        "d" | "day" | "days" => DAY * 1000,
        "w" | "wk" | "week" | "weeks" => 7 * DAY * 1000,
        _ => return None,
    };
    Some(millis as f64)
}

/// `5_400_000` → `1h 30m`
fn written(mut millis: u64) -> String {
    let mut parts = Vec::new();
    let units = [
        ("d", DAY * 1000),
        ("h", 60 * 60 * 1000),
        ("m", 60 * 1000),
        ("s", 1000),
        ("ms", 1),
    ];
    for (unit, size) in units {
        if millis >= size {
            parts.push(format!("{}{unit}", millis / size));
            millis %= size;
        }
    }
    parts.join(" ")
}

/// `"1h 30m"` → `("1", "h", " 30m")`
fn number_and_unit(text: &str) -> (&str, &str, &str) {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
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
            let message =
                format!("`{number}` has no unit: write `{number}s`, or use ms, m, h or d");
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
    fn what_is_written_in_words_is_told_as_it_is_written_here() {
        let check = |text: &str, ours: &str| {
            let mistake = duration(text).expect_err(text);
            assert_eq!(
                mistake.draw(text),
                format!("write `{ours}`: a time has ms, s, m, h or d")
            );
        };
        check("5 minutes", "5m");
        check("5min", "5m");
        check("1 hour", "1h");
        check("1.5h", "1h 30m");
        check("1 hour and 30 min", "1h 30m");
        check("2 weeks, 1 day", "15d");
        check("90 Seconds", "1m 30s");
        check("1 h 5 m", "1h 5m");
        check("0.5s", "500ms");
    }

    #[test]
    fn mistakes_in_durations() {
        mistake(
            "30",
            &expect!["`30` has no unit: write `30s`, or use ms, m, h or d"],
        );
        mistake(
            "1h 5",
            &expect![[r#"
                `5` has no unit: write `5s`, or use ms, m, h or d
                  1h 5
                     ^"#]],
        );
        mistake(
            "5fortnights",
            &expect![[r#"
                `fortnights` is no unit of time: use ms, s, m, h or d
                  5fortnights
                   ^^^^^^^^^^"#]],
        );
        mistake(
            "1.00001s",
            &expect![[r#"
                only whole numbers: write `1h 30m`, not `1.5h`
                  1.00001s
                   ^"#]],
        );
        mistake(
            "soon",
            &expect!["expected a whole number with a unit, such as `30s`"],
        );
        mistake("", &expect!["expected a time such as `30s` or `1h 30m`"]);
        mistake("  ", &expect!["expected a time such as `30s` or `1h 30m`"]);
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
}
