//! Statements for transactions of the caller's own.

use serde::Serialize;

use bgjob_core::{
    JobId, Json, Result,
    job::{Due, NewJob, Token},
    toolkit::columns::{encode, extra, nanos},
    transaction::Statement,
};

use super::{
    create::{due, int},
    db::Db,
};

/// A job in the form that the server reads.
#[derive(Serialize)]
struct Row<'a> {
    id: JobId,
    queue: &'a str,
    name: &'a str,
    /// Other names of the same function: a job with one of these names under this id is a repeat.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    aliases: &'static [&'static str],
    version: u32,
    rank: u8,
    due: i64,
    from_now: bool,
    retain: i64,
    max_attempts: i32,
    max_crashes: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deadline: Option<i64>,
    /// In hexadecimal, as a text on the server can't hold a NUL.
    #[serde(skip_serializing_if = "Option::is_none")]
    unique_key: Option<String>,
    /// JSON as a text within JSON, as the server would refuse an escaped NUL in JSON that it
    /// parses.
    #[serde(skip_serializing_if = "Option::is_none")]
    extra: Option<String>,
    metadata: &'a str,
}

impl<'a> Row<'a> {
    fn of(job: &'a NewJob) -> Self {
        let spec = &job.spec;
        Self {
            id: job.id,
            queue: &spec.queue,
            name: &spec.name,
            aliases: job.aliases,
            version: spec.version,
            rank: spec.priority.rank(),
            due: due(job),
            from_now: !matches!(job.due, Due::At(_)),
            retain: nanos(spec.retain),
            max_attempts: int(spec.max_attempts),
            max_crashes: int(spec.max_crashes),
            expires: spec.expires.map(nanos),
            deadline: spec.deadline.map(nanos),
            unique_key: spec.unique_key.as_deref().map(hexadecimal),
            extra: extra(spec),
            metadata: spec.metadata.as_str(),
        }
    }
}

fn hexadecimal(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

/// A success in the form that the server reads.
#[derive(Serialize)]
struct Success<'a> {
    id: JobId,
    token: uuid::Uuid,
    result: &'a str,
    /// bgjob did not make the id.
    own: bool,
}

impl Db {
    /// T1 (create) in a transaction of the caller's.
    pub(super) async fn create_within(&self, jobs: &[NewJob]) -> Result<Statement> {
        // Lanes are added in a transaction of their own, so that other callers need not wait for
        // this one's transaction. If there is no connection for that (the caller may hold the only
        // one), the statement adds the lanes.
        self.intern(jobs.iter().map(|job| &job.spec)).await.ok();
        let rows: Vec<Row<'_>> = jobs.iter().map(Row::of).collect();
        Ok(self.statement(&self.sql.create_within, encode(&rows)))
    }

    /// T4 (succeed) in a transaction of the caller's.
    pub(super) fn succeed_within(&self, id: JobId, token: Token, result: &Json) -> Statement {
        let success = Success {
            id,
            token: uuid::Uuid::from_bytes(*token.as_bytes()),
            result: result.as_str(),
            own: uuid::Uuid::from(id).get_version_num() != 7,
        };
        self.statement(&self.sql.succeed_within, encode(&success))
    }

    fn statement(&self, sql: &str, parameter: String) -> Statement {
        let clock = self.clock();
        let clock = clock.map_or_else(|| "NULL".to_owned(), |now| now.to_string());
        Statement {
            sql: sql.replace("$clock$", &clock),
            parameter,
        }
    }
}
