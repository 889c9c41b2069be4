//! The content of documents.

use serde::{Deserialize, Serialize};

use crate::{
    Error, ErrorKind, Job, JobId, Result, Timestamp,
    job::{
        Phase, limits,
        transition::{self, REMEMBERED},
    },
    store::{Document, Key, Version},
};

use super::{keys, stored};

/// The content of a document.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Body {
    /// The job.
    Job(#[serde(serialize_with = "stored::job")] Box<Job>),
    /// A job was deleted at its end. Before `until` a create under its id is a repeat.
    Gone {
        /// The time.
        until: Timestamp,
    },
    /// There is no job yet: a create is under way and will replace this document.
    Void {
        /// The time.
        until: Timestamp,
    },
    /// This job was the last to get the unique key that the document's id stands for.
    Key {
        /// The job.
        job: JobId,
        /// When the sweeper looks whether the job still has the key.
        look_at: Timestamp,
    },
}

impl Body {
    /// `None` where the body is not JSON of ours, is of a newer version, or holds an impossible
    /// job. Such a document is left alone.
    #[doc(hidden)]
    pub fn read(document: &Document) -> Option<Self> {
        let body: Self = serde_json::from_slice(&document.body).ok()?;
        match &body {
            Self::Job(job) if job.id != document.id || !is_possible(job) => None,
            _ => Some(body),
        }
    }

    /// What is kept of a job after a transition.
    pub(super) fn of(job: Job) -> Self {
        match &job.phase {
            Phase::Ended(end) if transition::vanishes(&job) => Self::Gone {
                until: end.at + REMEMBERED,
            },
            _ => Self::Job(Box::new(job)),
        }
    }

    /// Whether a create may replace this.
    pub(super) fn gives_way(&self, now: Timestamp) -> bool {
        match self {
            Self::Gone { until } => *until <= now,
            Self::Void { .. } => true,
            Self::Job(_) | Self::Key { .. } => false,
        }
    }

    /// As a document that replaces `version`.
    pub(super) fn write(&self, id: JobId, version: Version) -> Result<Document> {
        let body = serde_json::to_vec(self).map_err(|e| {
            let message = "the job can't be written as JSON";
            Error::new(ErrorKind::Internal, message)
                .about(id)
                .because(e)
        })?;
        Ok(Document {
            id,
            version,
            keys: self.keys(),
            body,
        })
    }

    fn keys(&self) -> Vec<Key> {
        match self {
            Self::Job(job) => keys::of_job(job),
            Self::Gone { until } | Self::Void { until } => vec![keys::purge(*until)],
            Self::Key { look_at, .. } => vec![keys::look(*look_at)],
        }
    }
}

/// Whether a job is possible. Somebody may have edited the document, and counters must not
/// overflow.
fn is_possible(job: &Job) -> bool {
    // Far below an overflow, and far above any count that is reached in practice.
    const MOST: u32 = 1 << 30;
    let counts = [job.errors, job.crashes, job.epoch];
    counts.iter().all(|count| *count <= MOST)
        && job.fence.max(job.ver) <= u64::from(MOST) << 32
        && job.spec.validate(limits::METADATA_HARD).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        JobSpec, Json,
        job::{Due, NewJob},
    };

    /// The stored form is stable: old and new workers share a store. This text may only grow.
    #[test]
    fn the_format_is_stable() {
        let at = Timestamp::from_millis(1_700_000_000_000);
        let id = JobId::from_key("a");
        let spec = JobSpec::new("mail", Json::trusted(r#"{"to":7}"#)).into();
        let job = transition::create(
            &NewJob {
                id,
                spec,
                due: Due::Now,
                aliases: &[],
            },
            at,
        );
        let check = |body: &Body, text: &str, filed: &[&str]| {
            let document = body.write(id, Version::default()).expect("it is JSON");
            assert_eq!(String::from_utf8_lossy(&document.body), text);
            let keys: Vec<_> = document.keys.iter().map(Key::as_str).collect();
            assert_eq!(keys, filed);
            let back = Body::read(&document).expect("it is ours");
            let again = back.write(id, Version::default()).expect("it is JSON");
            assert_eq!(again, document);
        };
        check(
            &Body::of(job),
            concat!(
                r#"{"job":{"id":"d5a53e39-f839-5d65-8693-a722eb8037ce","spec":{"name":"ma"#,
                r#"il","queue":"default","version":0,"priority":"normal","metadata":{"to""#,
                r#":7},"max_attempts":5,"max_crashes":3,"retain":{"secs":86400,"nanos":0}"#,
                r#"},"phase":{"ready":{"touch_at":1700000015000}},"ver":0,"fence":0,"epoc"#,
                r#"h":0,"errors":0,"crashes":0,"created_at":1700000000000,"due_at":170000"#,
                r#"0000000,"expires_at":null,"deadline_at":null,"progress":null,"history""#,
                r#":[]}}"#,
            ),
            &["r,default,2,018bcfe56800,ec90e52e,0,0", "t,018bcfe5a298"],
        );
        let gone = Body::Gone { until: at };
        check(
            &gone,
            r#"{"gone":{"until":1700000000000}}"#,
            &["p,018bcfe56800"],
        );
        let void = Body::Void { until: at };
        check(
            &void,
            r#"{"void":{"until":1700000000000}}"#,
            &["p,018bcfe56800"],
        );
    }

    #[test]
    fn what_is_not_ours_is_not_read() {
        for body in ["", "{", "null", r#"{"job":{}}"#, r#"{"newer":1}"#, "\u{0}"] {
            let document = Document {
                id: JobId::from_key("a"),
                version: Version::default(),
                keys: Vec::new(),
                body: body.into(),
            };
            assert!(Body::read(&document).is_none(), "{body:?}");
        }
    }
}
