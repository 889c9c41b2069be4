//! The small languages inside string literals: spans of time, backoffs, names.
//!
//! Stable Rust has no spans for parts of a literal, so each mistake draws its own caret.

mod backoff;
mod duration;
mod name;

pub(crate) use backoff::{Backoff, Shape, backoff};
pub(crate) use duration::duration;
pub(crate) use name::{job_name, queue_name};

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

    /// The message, on one line, and a caret under the text. If the whole text is wrong, the
    /// message only.
    pub(crate) fn draw(&self, text: &str) -> String {
        let Self { message, at, len } = self;
        // The message may quote some of the text.
        let message = message.replace(char::is_control, " ");
        if text.trim().is_empty() || *len >= text.chars().count() || text.contains(char::is_control)
        {
            return message;
        }
        format!("{message}\n  {text}\n  {:at$}{}", "", "^".repeat(*len))
    }
}
