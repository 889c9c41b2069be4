//! What stores with columns have in common: values of our own types as the text or the number of a
//! column, and back.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};

use crate::job::{DeadReason, JobSpec, StoredBackoff};

/// What few jobs have: one column, a JSON object. Spans are whole nanoseconds, as in the columns:
///
/// ```json
/// {"headers":{"tenant":"7"}, "tags":["blue"], "timeout":30000000000,
///  "backoff":{"exponential":[5000000000,3600000000000],"jitter":false}}
/// ```
///
/// A backoff is `exponential` or `linear` with its first wait and its longest, or `steps` with any
/// number of waits; without `jitter` it is jittered. A program that does not know a field leaves it
/// out when it runs the job, and loses it when it edits one.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Extra {
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) headers: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) tags: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timeout: Option<u64>,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "if_known"
    )]
    pub(super) backoff: Option<StoredBackoff>,
}

impl Extra {
    pub(super) fn timeout(&self) -> Option<Duration> {
        self.timeout.map(Duration::from_nanos)
    }
}

/// A shape that a newer version wrote counts as not there; the fields beside it are kept.
fn if_known<'de, D: Deserializer<'de>>(json: D) -> Result<Option<StoredBackoff>, D::Error> {
    let json = serde_json::Value::deserialize(json)?;
    Ok(serde_json::from_value(json).ok())
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

/// The other way. What can't be read (a newer version wrote it, say) counts as not there: no job
/// should get stuck for a column that nobody needs to run it.
pub(super) fn decode<T: DeserializeOwned>(text: Option<&str>) -> Option<T> {
    serde_json::from_str(text?).ok()
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

/// Stored by name; a reason of a newer version reads as the plainest there is.
pub(super) fn reason(name: &str) -> DeadReason {
    serde_json::from_value(name.into()).unwrap_or(DeadReason::Errors)
}
