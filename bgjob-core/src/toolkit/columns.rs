//! What stores with columns share: values of our own types as the text or the number of a column,
//! and back.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::job::{DeadReason, JobSpec, StoredBackoff};

/// The options that few jobs have: one column, a JSON object. Spans are whole nanoseconds, as in
/// the columns:
///
/// ```json
/// {"headers":{"tenant":"7"}, "tags":["blue"], "timeout":30000000000,
///  "backoff":{"exponential":[5000000000,3600000000000],"jitter":false}}
/// ```
///
/// A backoff is `exponential` or `linear` with its first and its longest wait, or `steps` with any
/// number of waits. Jitter is on unless `jitter` is false. A program that finds a field it does not
/// know leaves the job unchanged: writing the job back would lose the field.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Extra {
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    /// The job's headers.
    pub headers: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    /// The job's tags.
    pub tags: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timeout: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    /// The job's backoff.
    pub backoff: Option<StoredBackoff>,
}

impl Extra {
    /// The longest run of an attempt.
    pub fn timeout(&self) -> Option<Duration> {
        self.timeout.map(Duration::from_nanos)
    }
}

/// The value of the column `extra`.
pub fn extra(spec: &JobSpec) -> Option<String> {
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
pub fn encode(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("our own types have JSON forms")
}

/// A column has a value that this program does not know, as a newer one wrote it. The job is left
/// unchanged: values that are read as missing (attempts, crashes) would be written back as missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unknown;

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a column of this job can't be read: a newer version wrote it, or somebody edited it",
        )
    }
}

impl std::error::Error for Unknown {}

/// The value of a column that [`encode`] has written.
pub fn decode<T: DeserializeOwned>(text: Option<&str>) -> Result<Option<T>, Unknown> {
    let text = text.map(serde_json::from_str).transpose();
    text.map_err(|_| Unknown)
}

/// A span in nanoseconds, so that it is read back exactly.
pub fn nanos(span: Duration) -> i64 {
    // The maximum is 292 years; no job may ask for more than ten.
    i64::try_from(span.as_nanos()).unwrap_or(i64::MAX)
}

/// The span of a column that [`nanos`] has written.
pub fn span(nanos: i64) -> Duration {
    Duration::from_nanos(nanos.try_into().unwrap_or(0))
}

/// The reason with this stored name.
pub fn reason(name: Option<&str>) -> Result<DeadReason, Unknown> {
    serde_json::from_value(name.into()).map_err(|_| Unknown)
}
