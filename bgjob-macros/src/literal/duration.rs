//! `"1h 30m"` → a span of time.

use std::time::Duration;

use super::Mistake;

/// The longest span a job can ask for: ten years.
const SPAN_MAX: Duration = Duration::from_secs(10 * 365 * DAY);
const DAY: u64 = 24 * 60 * 60;

/// `"30s"`, `"100ms"`, `"1h 30m"` → the time it means.
pub(crate) fn duration(text: &str) -> Result<Duration, Mistake> {
    duration_in(text, text.trim())
}

/// `part` is the piece of `text` that is read.
pub(super) fn duration_in(text: &str, part: &str) -> Result<Duration, Mistake> {
    if part.is_empty() {
        return Err(Mistake::new(
            text,
            part,
            "expected a time such as `30s` or `1h 30m`",
        ));
    }
    let mut total = Duration::ZERO;
    let mut rest = part;
    while !rest.is_empty() {
        let (number, unit, after) = number_and_unit(rest);
        total = total.saturating_add(quantity(text, number, unit)?);
        rest = after.trim_start();
    }
    if total > SPAN_MAX {
        return Err(Mistake::new(
            text,
            part,
            "at most ten years (`3650d`) are allowed",
        ));
    }
    Ok(total)
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
