use bgjob::prelude::*;

/// Docs of more than a line,
/// with `code` and "quotes".
///
/// # Errors
/// None.
#[inline]
#[job]
#[must_use = "it is a future"]
#[allow(clippy::unused_async)]
pub async fn greet(_: String) {}

#[doc(hidden)]
#[job]
pub async fn hidden(_: String) {}

fn main() {}
