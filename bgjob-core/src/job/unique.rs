//! [`UniqueKey`]: a unique key as an enqueue gives it, and as it is stored.

use super::limits;
use crate::Error;

/// Separates a key from the name of the job it belongs to. No job's name contains it.
const BETWEEN: char = '/';
/// Stands in place of the name where the key is shared. No job has this name.
const ANY: &str = "*";

/// A unique key as an enqueue gives it.
///
/// A store keeps one text for each live job that has a key, and compares these texts byte by byte.
/// A key is therefore stored with the name of the job it belongs to: the key `image-7` of the job
/// `resize` is `resize/image-7`, and the shared key `image-7` is `*/image-7`. For a renamed job
/// this is its oldest name, on which programs from before and after the renaming agree.
#[derive(Debug, Clone, PartialEq, Eq)]
#[doc(hidden)]
pub enum UniqueKey {
    /// It belongs to the job's function.
    OfJob(String),
    /// All functions share it.
    Shared(String),
}

impl UniqueKey {
    /// The text that is stored. `name` is the job's oldest name.
    ///
    /// # Errors
    /// `InvalidInput` where it is empty or too long.
    #[doc(hidden)]
    pub fn stored(&self, name: &str) -> Result<String, Error> {
        let (name, key) = match self {
            Self::OfJob(key) => (name, key),
            Self::Shared(key) => (ANY, key),
        };
        if (1..=limits::UNIQUE_KEY).contains(&key.len()) {
            return Ok(format!("{name}{BETWEEN}{key}"));
        }
        let (max, size) = (limits::UNIQUE_KEY, key.len());
        Err(Error::invalid(if size == 0 {
            format!("a unique_key has 1 to {max} bytes; this one has 0: leave it out")
        } else {
            format!("a unique_key has 1 to {max} bytes; this one has {size}: use a hash of it")
        }))
    }
}

/// Whether a stored key is shared by all functions.
#[doc(hidden)]
pub fn is_shared(stored: &str) -> bool {
    stored.starts_with(ANY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_stored_with_the_name_it_belongs_to() {
        let stored = |key: UniqueKey| key.stored("resize").expect("it is a key");
        let own = stored(UniqueKey::OfJob("a/b".into()));
        let shared = stored(UniqueKey::Shared("a/b".into()));
        assert_eq!((&*own, &*shared), ("resize/a/b", "*/a/b"));
        assert!(is_shared(&shared) && !is_shared(&own));
    }

    #[test]
    fn an_empty_or_long_key_is_refused() {
        for (key, says) in [
            (String::new(), "leave it out"),
            ("k".repeat(257), "this one has 257"),
        ] {
            for key in [UniqueKey::OfJob(key.clone()), UniqueKey::Shared(key)] {
                let error = key.stored("resize").expect_err(says);
                assert!(error.to_string().contains(says), "{error}");
            }
        }
    }
}
