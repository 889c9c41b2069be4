//! Bad input and bad surroundings: each gives a clear error, loses nothing, and never stops the
//! jobs beside it.

mod clocks;
mod disks;
mod documents;
mod guards;
mod handlers;
mod json;
mod paths;
mod schemes;
mod secrets;
mod sqlite;
mod support;
mod texts;
mod waiting;
