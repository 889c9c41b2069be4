//! [`Metadata`]: the handler's first argument, and how it is decoded.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::JobContext;
use crate::{
    BoxError, Error, ErrorKind, Json, Outcome,
    job::{DeadReason, Failure, FailureKind, Wide, misfit},
};

/// The input of a job: any type that serde can read and write and that owns its data.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be the metadata of a job",
    label = "not a job's metadata",
    note = "metadata is stored as JSON, so it is read and written: add \
            `#[derive(Serialize, Deserialize)]` to the type; it must be `Send` and own its data \
            (`String`, not `&str`)",
    note = "where this is meant as an extractor: the metadata comes first, `_: ()` for none"
)]
pub trait Metadata: Serialize + DeserializeOwned + Send + 'static {}

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned + Send + 'static> Metadata for T {}

/// A function that turns metadata of an older version (the number) into the current version.
///
/// A [`Value`] can't hold an integer beyond 64 bits: in it such an integer is a text that begins
/// with `int:`. Wherever the function puts that text, it becomes an integer again.
pub type Upgrade = fn(Value, u32) -> Result<Value, BoxError>;

/// Decodes a job's metadata, after upgrading it if it is older than `version`.
///
/// A job whose metadata can't be read is Dead at once and keeps its metadata: trying again would
/// not help, and an operator can edit and requeue the job.
#[doc(hidden)]
pub fn decode<M: Metadata>(
    ctx: &JobContext,
    version: u32,
    upgrade: Option<Upgrade>,
) -> Result<M, Outcome<Json>> {
    let spec = &ctx.held().job.spec;
    let decoded = match upgrade {
        Some(upgrade) if spec.version < version => upgraded(&spec.metadata, spec.version, upgrade),
        _ => spec.metadata.decode().map_err(BoxError::from),
    };
    decoded.map_err(|error| Outcome::Abort {
        failure: Failure::from_error(FailureKind::Decode, error.as_ref()),
        reason: DeadReason::Decode,
    })
}

fn upgraded<M: Metadata>(stored: &Json, version: u32, upgrade: Upgrade) -> Result<M, BoxError> {
    let wide = Wide::of(stored)?;
    let value = upgrade(wide.value.clone(), version)?;
    wide.json(&value)?.decode().map_err(|_| {
        let said = misfit::<M>(&value).map_or_else(String::new, |said| format!(": {said}"));
        let text = format!("the upgraded metadata does not fit the type{said}");
        Error::new(ErrorKind::InvalidInput, text)
            .with("version", version)
            .into()
    })
}
