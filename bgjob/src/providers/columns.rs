//! What stores with columns have in common: values of our own types as the text or the number of a
//! column, and back.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::job::{DeadReason, JobSpec};

/// Headers and tags, which few jobs have: one column.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Extra {
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) headers: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) tags: Vec<String>,
}

/// The value of the column `extra`.
pub(super) fn extra(spec: &JobSpec) -> Option<String> {
    (!spec.headers.is_empty() || !spec.tags.is_empty()).then(|| {
        encode(&Extra {
            headers: spec.headers.clone(),
            tags: spec.tags.clone(),
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
