//! Formats texts and times for a line of the log.

use std::{
    fmt::{self, Display, Write},
    time::Duration,
};

/// An untrusted text, to be written as one line: control characters are escaped.
pub(super) struct OneLine<T>(pub(super) T);

impl<T: Display> OneLine<T> {
    /// The most bytes of a text in a line; an error text may be a server's whole response.
    const MOST: usize = 2048;

    /// The escaped text, cut if it is too long.
    pub(super) fn cut(&self) -> String {
        let mut line = Escaped(String::new());
        // An error means full: the rest does not fit and is left out.
        let full = write!(line, "{}", self.0).is_err();
        if full {
            line.0.push('…');
        }
        line.0
    }
}

struct Escaped(String);

impl Write for Escaped {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            if self.0.len() + c.len_utf8() > OneLine::<&str>::MOST {
                return Err(fmt::Error);
            }
            if is_control(c) {
                self.0.extend(c.escape_default());
            } else {
                self.0.push(c);
            }
        }
        Ok(())
    }
}

/// Whether a character ends a line, moves the cursor, or changes the direction of the text.
fn is_control(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A span of time as people write it: `350ms`, `5s`, `1m 30s`, `2h`, `3d 4h`.
pub(super) struct Words(pub(super) Duration);

impl Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = self.0.as_secs();
        let of = |large: u64, unit: char, small: u64, rest: char| {
            let (n, left) = (whole / large, whole % large / small);
            (
                format!("{n}{unit}"),
                (left > 0).then(|| format!(" {left}{rest}")),
            )
        };
        let (large, small) = match whole {
            0..60 => return write!(f, "{:?}", self.rounded()),
            60..3_600 => of(60, 'm', 1, 's'),
            3_600..86_400 => of(3_600, 'h', 60, 'm'),
            _ => of(86_400, 'd', 3_600, 'h'),
        };
        write!(f, "{large}{}", small.unwrap_or_default())
    }
}

impl Words {
    /// Cuts the time to at most about three digits.
    fn rounded(&self) -> Duration {
        let nanos = self.0.as_nanos() as u64;
        let unit = match nanos {
            10_000_000_000.. => 100_000_000,
            1_000_000_000.. => 10_000_000,
            1_000_000.. => 100_000,
            _ => 1_000,
        };
        Duration::from_nanos(nanos / unit * unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_one_line() {
        let check = |text: &str, line: &str| assert_eq!(OneLine(text).cut(), line);
        check("no answer: “é”", "no answer: “é”");
        check("a\nb\r\tc\u{1b}[31m", "a\\nb\\r\\tc\\u{1b}[31m");
        check("a\u{2028}b\u{202e}c", "a\\u{2028}b\\u{202e}c");
    }

    #[test]
    fn a_long_text_is_cut() {
        for text in ["x".repeat(9_000), "é".repeat(9_000), "\n".repeat(9_000)] {
            let line = OneLine(text).cut();
            assert!(line.ends_with('…'), "{line}");
            assert!(line.len() < 2048 + 16, "{}", line.len());
        }
        assert_eq!(OneLine("x".repeat(2048)).cut(), "x".repeat(2048));
    }

    #[test]
    fn spans_are_words() {
        let check = |millis: u64, words: &str| {
            assert_eq!(Words(Duration::from_millis(millis)).to_string(), words);
        };
        check(0, "0ns");
        check(5, "5ms");
        check(5_000, "5s");
        check(4_712, "4.71s");
        check(59_987, "59.9s");
        check(60_000, "1m");
        check(90_500, "1m 30s");
        check(3_600_000, "1h");
        check(5_400_000, "1h 30m");
        check(100_000_000, "1d 3h");
        assert_eq!(Words(Duration::from_nanos(1_234_567)).to_string(), "1.2ms");
    }
}
