//! The `#[job]` attribute of bgjob.
