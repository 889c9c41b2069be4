//! [`Json`]: a JSON text that is passed on without being parsed again.

use std::{
    cell::RefCell,
    fmt,
    sync::{Arc, LazyLock},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned};
use serde_json::{error::Category, value::RawValue};

use super::{
    misfit,
    strict::{self, Refused, What},
};
use crate::Error;

/// The largest buffer that is kept for the next value, in bytes.
const KEPT: usize = 64 * 1024;

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A JSON text: a job's metadata, or its result. Cheap to clone. `Debug` hides the content.
///
/// ```
/// use bgjob::Json;
///
/// let json = Json::encode(&vec![1, 2, 3])?;
/// assert_eq!(json.as_str(), "[1,2,3]");
/// assert_eq!(json.decode::<Vec<u8>>()?, [1, 2, 3]);
/// assert_eq!(format!("{json:?}"), "Json(7 bytes)");
/// # Ok::<(), bgjob::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Json(Arc<str>);

impl Json {
    /// Encodes a value.
    ///
    /// # Errors
    /// `InvalidInput` where the value can't be JSON: it has a number that is NaN or infinite, a map
    /// whose keys are not strings, numbers or `bool`, or lists and maps more than 127 deep. The
    /// error names the place, never a value.
    pub fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Self, Error> {
        // Written into a reused buffer: each value then needs one allocation, of the right size.
        let mut buffer = BUFFER.take();
        buffer.clear();
        let written = serde_json::to_writer(&mut buffer, value);
        let json = match &buffer[..] {
            b"null" => Self::null(),
            bytes => Self(
                str::from_utf8(bytes)
                    .expect("JSON is written as UTF-8")
                    .into(),
            ),
        };
        if buffer.capacity() <= KEPT {
            BUFFER.set(buffer);
        }
        match written {
            Ok(()) => json.holds(value),
            Err(_) => Err(unwritable(value)),
        }
    }

    /// Checks that the JSON holds all that the value does, and can be read back.
    fn holds<T: Serialize + ?Sized>(self, value: &T) -> Result<Self, Error> {
        if is_too_deep(self.0.as_bytes()) {
            let text = "the value is nested too deep for JSON";
            return Err(Error::invalid(text).with("most", DEEPEST));
        }
        if self.0.contains("null")
            && let Err(found) = strict::find(value, false)
            && found.what == What::NotFinite
        {
            return Err(refused(&found));
        }
        Ok(self)
    }

    /// Checks that `value`, whose JSON this is, would not be read back as a different value.
    ///
    /// # Errors
    /// `InvalidInput` where a `Some` in the value would be read back as `None`.
    #[doc(hidden)]
    pub fn tells_apart<T: Serialize + ?Sized>(&self, value: &T) -> Result<(), Error> {
        match strict::find(value, true) {
            Err(found) if found.what == What::LikeNone && self.0.contains("null") => {
                Err(refused(&found))
            }
            _ => Ok(()),
        }
    }

    /// Takes a text that must be JSON.
    ///
    /// # Errors
    /// `InvalidInput` where it is not.
    pub fn parse(text: impl Into<Arc<str>>) -> Result<Self, Error> {
        let text = text.into();
        match serde_json::from_str::<&RawValue>(&text) {
            Ok(_) => Ok(Self(text)),
            Err(e) => Err(Error::invalid("this is not JSON").because(e)),
        }
    }

    /// Takes a text from a store without a check. Decoding checks it.
    pub fn trusted(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// Decodes it.
    ///
    /// # Errors
    /// `InvalidInput` where it doesn't fit `T`. The message says where, and what was expected,
    /// never the value that was found.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_str(&self.0).map_err(|e| match e.classify() {
            // The error concerns the JSON itself (too deep, a number out of range) and quotes
            // nothing.
            Category::Syntax | Category::Eof => {
                Error::invalid("the JSON can't be read").with("reason", e)
            }
            // serde_json's own text may quote the value, and values are never logged.
            Category::Data | Category::Io => Error::invalid(self.misfit::<T>())
                .with("line", e.line())
                .with("column", e.column()),
        })
    }

    fn misfit<T: DeserializeOwned>(&self) -> String {
        let value = serde_json::from_str(&self.0).ok();
        let said = value.and_then(|value| misfit::<T>(&value));
        let said = said.map_or_else(String::new, |said| format!(": {said}"));
        format!("the JSON does not fit the type{said}")
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its length in bytes.
    #[allow(clippy::len_without_is_empty, reason = "no JSON text is empty")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// `null`.
    pub fn null() -> Self {
        // The result of every job that returns nothing, so it is made only once.
        static NULL: LazyLock<Json> = LazyLock::new(|| Json("null".into()));
        NULL.clone()
    }
}

/// Why a value could not be written. serde's own message is dropped, because it may quote the
/// value.
fn unwritable<T: Serialize + ?Sized>(value: &T) -> Error {
    match strict::find(value, false) {
        Err(found) => refused(&found),
        Ok(()) => Error::invalid(
            "the value can't be written as JSON, where the keys of a map are strings, numbers or \
             `bool`",
        ),
    }
}

fn refused(found: &Refused) -> Error {
    let error = Error::invalid(match found.what {
        What::NotFinite => "a number that is NaN or infinite can't be written as JSON",
        What::LikeNone => {
            "a `Some` in the value would be read back as `None`: in JSON both are `null`"
        }
        What::Other => "the value can't be written as JSON: its type refuses it",
    });
    match found.path() {
        path if path.is_empty() => error,
        path => error.with("at", path),
    }
}

/// How deep serde_json reads lists and maps within one another.
const DEEPEST: usize = 127;

/// Whether a JSON is nested deeper than it can be read.
fn is_too_deep(json: &[u8]) -> bool {
    let opens = |b: &&u8| matches!(**b, b'[' | b'{');
    // Nearly every JSON has fewer of them in all.
    if json.iter().filter(opens).count() <= DEEPEST {
        return false;
    }
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    json.iter().any(|b| {
        match b {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_text,
            b'"' => in_text = !in_text,
            b'[' | b'{' if !in_text => depth += 1,
            b']' | b'}' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth > DEEPEST
    })
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Json({} bytes)", self.len())
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue = serde_json::from_str(&self.0).map_err(serde::ser::Error::custom)?;
        raw.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Ok(Self(Box::<str>::from(raw).into()))
    }
}

#[cfg(test)]
mod tests;
