//! Integers beyond 64 bits on their way through a [`Value`], which can't hold them.

use std::borrow::Cow;

use serde::{Serialize, Serializer};
use serde_json::Value;

use super::Json;
use crate::Error;

/// What a text begins with that stands for an integer beyond 64 bits, before the digits. Where the
/// JSON has texts of its own that begin like this, the mark gets more `_` in front.
const MARK: &str = "int:";

/// A JSON as a [`Value`], in which an integer beyond 64 bits is a text:
/// `"int:18446744073709551616"`.
#[derive(Debug)]
#[doc(hidden)]
pub struct Wide {
    #[doc(hidden)]
    pub value: Value,
    /// What such texts begin with, `None` where there are none.
    mark: Option<String>,
}

impl Wide {
    /// The value of a JSON.
    ///
    /// # Errors
    /// As for [`Json::decode`].
    #[doc(hidden)]
    pub fn of(json: &Json) -> Result<Self, Error> {
        let mut mark = MARK.to_owned();
        while json.as_str().contains(&format!("\"{mark}")) {
            mark.insert(0, '_');
        }
        match marked(json.as_str(), &mark) {
            Cow::Borrowed(_) => Ok(Self {
                value: json.decode()?,
                mark: None,
            }),
            Cow::Owned(text) => Ok(Self {
                value: Json::trusted(text).decode()?,
                mark: Some(mark),
            }),
        }
    }

    /// The JSON of a value that was made from this one: such texts become integers again.
    ///
    /// # Errors
    /// As for [`Json::encode`].
    #[doc(hidden)]
    pub fn json(&self, value: &Value) -> Result<Json, Error> {
        match &self.mark {
            Some(mark) => Json::encode(&Narrow { value, mark }),
            None => Json::encode(value),
        }
    }
}

/// The JSON with each integer beyond 64 bits put in quotes, after the mark.
fn marked<'a>(text: &'a str, mark: &str) -> Cow<'a, str> {
    let mut out = String::new();
    let (mut copied, mut at) = (0, 0);
    let bytes = text.as_bytes();
    while at < bytes.len() {
        let end = token(bytes, at);
        if is_wide(&text[at..end]) {
            out.push_str(&text[copied..at]);
            out.extend(["\"", mark, &text[at..end], "\""]);
            copied = end;
        }
        at = end;
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(&text[copied..]);
    Cow::Owned(out)
}

/// The end of the token that begins at `at`: a text, a number, or one byte of something else.
fn token(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at + 1..];
    let more = match bytes[at] {
        b'"' => {
            let mut escaped = false;
            let closes = |b: &u8| {
                let ends = *b == b'"' && !escaped;
                escaped = *b == b'\\' && !escaped;
                ends
            };
            rest.iter().position(closes).map_or(rest.len(), |n| n + 1)
        }
        b'-' | b'0'..=b'9' => {
            let goes_on = |b: &&u8| matches!(b, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-');
            rest.iter().take_while(goes_on).count()
        }
        _ => 0,
    };
    at + 1 + more
}

fn is_wide(token: &str) -> bool {
    // The least integer beyond 64 bits has 19 digits.
    token.len() > 18
        && (token.parse::<u128>().is_ok() || token.parse::<i128>().is_ok())
        && token.parse::<u64>().is_err()
        && token.parse::<i64>().is_err()
}

/// A value whose marked texts are written as the integers that they stand for.
struct Narrow<'a> {
    value: &'a Value,
    mark: &'a str,
}

impl Serialize for Narrow<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let within = |value| Self { value, ..*self };
        match self.value {
            Value::Array(values) => to.collect_seq(values.iter().map(within)),
            Value::Object(map) => to.collect_map(map.iter().map(|(key, of)| (key, within(of)))),
            Value::String(text) => match text.strip_prefix(self.mark) {
                Some(digits) => match (digits.parse::<u128>(), digits.parse::<i128>()) {
                    (Ok(number), _) => to.serialize_u128(number),
                    (_, Ok(number)) => to.serialize_i128(number),
                    _ => to.serialize_str(text),
                },
                None => to.serialize_str(text),
            },
            other => other.serialize(to),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_beyond_64_bits_survive_a_value() {
        let text = format!(
            r#"{{"a":[{},{},{}],"b\"{}":"{}","int:1":"int:2","f":1e300,"g":1.5,"h":{}}}"#,
            u128::MAX,
            i128::MIN,
            u64::MAX,
            u128::MAX,
            u128::MAX,
            i64::MIN,
        );
        let json = Json::parse(text).expect("it is JSON");
        let wide = Wide::of(&json).expect("it can be read");
        assert_eq!(wide.value["a"][0], format!("_int:{}", u128::MAX));
        assert_eq!(wide.value["a"][2], u64::MAX);
        let back = wide.json(&wide.value).expect("it is JSON");
        assert_eq!(
            Wide::of(&back).expect("it can be read").value,
            wide.value,
            "{back:?}"
        );
        assert!(
            back.as_str()
                .contains(&format!("[{},{},{}]", u128::MAX, i128::MIN, u64::MAX))
        );
    }

    #[test]
    fn what_has_none_is_left_alone() {
        for text in [
            "[1,-9223372036854775808,18446744073709551615,1.5e300]",
            r#""999999999999999999999999""#,
            r#"{"999999999999999999999999":"\\"}"#,
            // Beyond 128 bits it is a float, as everywhere.
            "999999999999999999999999999999999999999999",
        ] {
            assert!(matches!(marked(text, MARK), Cow::Borrowed(_)), "{text}");
        }
    }
}
