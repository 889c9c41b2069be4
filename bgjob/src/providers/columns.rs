//! What stores with columns have in common: values of our own types as the text or the number of a
//! column, and back.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::job::{DeadReason, JobSpec, StoredBackoff};

/// What few jobs have: one column, a JSON object. Spans are whole nanoseconds, as in the columns:
///
/// ```json
/// {"headers":{"tenant":"7"}, "tags":["blue"], "timeout":30000000000,
///  "backoff":{"exponential":[5000000000,3600000000000],"jitter":false}}
/// ```
///
/// A backoff is `exponential` or `linear` with its first wait and its longest, or `steps` with any
/// number of waits; without `jitter` it is jittered. A program that does not know a field leaves
/// the job alone: it would lose the field when it writes the job back.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Extra {
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) headers: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) tags: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timeout: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) backoff: Option<StoredBackoff>,
}

impl Extra {
    pub(super) fn timeout(&self) -> Option<Duration> {
        self.timeout.map(Duration::from_nanos)
    }
}

/// The value of the column `extra`.
pub(super) fn extra(spec: &JobSpec) -> Option<String> {
    let none = spec.headers.is_empty()
        && spec.tags.is_empty()
        && spec.timeout.is_none()
        && spec.backoff.is_none();
    (!none).then(|| {
        encode(&Extra {
            headers: spec.headers.clone(),
            tags: spec.tags.clone(),
            timeout: spec.timeout.map(|span| nanos(span).unsigned_abs()),
            backoff: spec.backoff.clone(),
        })
    })
}

/// A value of our own types as the text of a column.
pub(super) fn encode(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("our own types have JSON forms")
}

/// A column says what this program does not know: a newer one wrote it. Its job is left alone, as
/// what would be read for nothing (attempts, crashes) would be written back as nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unknown;

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a column of this job can't be read: a newer version wrote it, or somebody edited it",
        )
    }
}

impl std::error::Error for Unknown {}

/// The other way.
pub(super) fn decode<T: DeserializeOwned>(text: Option<&str>) -> Result<Option<T>, Unknown> {
    let text = text.map(serde_json::from_str).transpose();
    text.map_err(|_| Unknown)
}

/// A span in nanoseconds: it is given back as it was given.
pub(super) fn nanos(span: Duration) -> i64 {
    // 292 years; no job may ask for more than ten.
    i64::try_from(span.as_nanos()).unwrap_or(i64::MAX)
}

/// The other way.
pub(super) fn span(nanos: i64) -> Duration {
    Duration::from_nanos(nanos.try_into().unwrap_or(0))
}

/// Stored by name.
pub(super) fn reason(name: Option<&str>) -> Result<DeadReason, Unknown> {
    serde_json::from_value(name.into()).map_err(|_| Unknown)
}
