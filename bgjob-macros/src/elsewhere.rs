//! The names of arguments in other systems, and what to write here.

use syn::{Expr, Lit};

/// What to write in place of an argument of another system.
pub(crate) enum Ours {
    /// A number of retries: attempts count the first run, retries do not.
    Retries,
    Advice(&'static str),
}

/// Words of other systems, with what to write in place of each.
const WORDS: &[(&[&str], Ours)] = &[
    (
        &[
            "max_retries",
            "retries",
            "retry",
            "max_retry",
            "retry_limit",
            "retry_count",
        ],
        Ours::Retries,
    ),
    (
        &["attempts", "tries", "max_tries"],
        Ours::Advice("write `max_attempts = 5`, which counts the first run too"),
    ),
    (
        &[
            "retry_delay",
            "retry_interval",
            "retry_backoff",
            "retry_wait",
            "default_retry_delay",
            "retry_in",
            "backoff_delay",
        ],
        Ours::Advice("write `backoff = \"constant(5s)\"`, or `exponential`, `linear`, `steps`"),
    ),
    (
        &[
            "time_limit",
            "timeout_ms",
            "timeout_secs",
            "timeout_seconds",
            "timeout_in",
            "max_duration",
            "max_runtime",
            "job_timeout",
            "visibility_timeout",
        ],
        Ours::Advice("write `timeout = \"30s\"`, how long one attempt may take"),
    ),
    (
        &["ttl", "max_age", "lifetime"],
        Ours::Advice(
            "write `expires` (until it must have started), `deadline` (until it must have ended) \
             or `retain` (kept after its end)",
        ),
    ),
    (
        &[
            "expire",
            "expires_in",
            "expire_in",
            "expiry",
            "discard_after",
        ],
        Ours::Advice("write `expires = \"1h\"`, until when it must have started"),
    ),
    (
        &[
            "retention",
            "keep",
            "keep_for",
            "result_ttl",
            "retain_for",
            "remove_on_complete",
        ],
        Ours::Advice("write `retain = \"7d\"`, how long it is kept after its end"),
    ),
    (
        &[
            "cron",
            "schedule",
            "every",
            "interval",
            "repeat",
            "recurring",
            "periodic",
            "crontab",
        ],
        Ours::Advice(
            "there are no schedules yet: enqueue it from a timer of yours, with an id for each \
             time, `.id(JobId::from_key(\"report 2030-01-01\"))`",
        ),
    ),
    (
        &[
            "concurrency",
            "max_concurrency",
            "concurrent",
            "workers",
            "threads",
            "slots",
            "parallel",
            "max_parallel",
            "concurrency_limit",
        ],
        Ours::Advice(
            "how many run at a time is said for a queue, at the dispatcher: give the job a `queue` \
             and write `.slots(\"mail\", 4)` there",
        ),
    ),
    (
        &["rate_limit", "throttle", "rate"],
        Ours::Advice("there are no rate limits: give it a `queue` with few slots"),
    ),
    (
        &[
            "unique",
            "unique_key",
            "unique_for",
            "unique_by",
            "dedupe",
            "dedup",
            "deduplicate",
            "idempotency_key",
            "lock",
            "singleton",
        ],
        Ours::Advice(
            "what is unique is said at the enqueue: `.unique_key(\"…\")` for one that lives at a \
             time, `.id(JobId::from_key(\"…\"))` for one at all",
        ),
    ),
    (
        &[
            "delay",
            "countdown",
            "run_in",
            "perform_in",
            "wait",
            "start_after",
            "defer",
        ],
        Ours::Advice("it is said at the enqueue: `.delay(Duration::from_secs(60))`"),
    ),
    (
        &[
            "at",
            "eta",
            "run_at",
            "scheduled_at",
            "perform_at",
            "not_before",
            "start_at",
        ],
        Ours::Advice("it is said at the enqueue: `.at(time)`"),
    ),
    (
        &[
            "args",
            "arguments",
            "params",
            "payload",
            "data",
            "input",
            "metadata",
        ],
        Ours::Advice("a job takes its metadata as first argument of the function: remove this"),
    ),
    (
        &["tag", "tags", "header", "headers", "labels"],
        Ours::Advice("it is said at the enqueue: `.tag(\"…\")`, `.header(\"…\", \"…\")`"),
    ),
    (
        &["queue_name", "tube", "topic", "channel"],
        Ours::Advice("write `queue = \"mail\"`"),
    ),
    (
        &[
            "job_name",
            "task",
            "task_name",
            "id",
            "kind",
            "type",
            "rename",
        ],
        Ours::Advice("write `name = \"send_mail\"`"),
    ),
    (
        &["sync", "spawn_blocking", "cpu", "thread"],
        Ours::Advice("write `blocking`, before a plain `fn`"),
    ),
    (
        &[
            "remote",
            "signature",
            "declare",
            "stub",
            "producer",
            "no_body",
        ],
        Ours::Advice("write `extern`, before a function that ends in `;` in place of its body"),
    ),
];

/// What to write in place of this argument, if it is one of another system's.
pub(crate) fn elsewhere(key: &str) -> Option<&'static Ours> {
    let found = WORDS.iter().find(|(words, _)| words.contains(&key));
    found.map(|(_, ours)| ours)
}

impl Ours {
    /// The advice as a sentence. `value` is what the argument was given.
    pub(crate) fn advice(&self, value: Option<&Expr>) -> String {
        match self {
            Self::Advice(advice) => (*advice).to_owned(),
            Self::Retries => {
                let attempts = number(value).map_or(5, |retries| retries.saturating_add(1));
                format!(
                    "write `max_attempts = {attempts}`, which counts the first run and {} retries",
                    attempts.saturating_sub(1)
                )
            }
        }
    }
}

fn number(value: Option<&Expr>) -> Option<u32> {
    match value? {
        Expr::Lit(literal) => match &literal.lit {
            Lit::Int(number) => number.base10_parse().ok(),
            _ => None,
        },
        _ => None,
    }
}
