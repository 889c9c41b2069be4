//! The work all of them do: the same job, the same metadata.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};

/// About 150 bytes of JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Email {
    /// A number, or, where latency is measured, when it was sent, in nanoseconds.
    pub id: u64,
    pub to: String,
    pub body: String,
}

pub fn email(id: u64) -> Email {
    let body = "Dear user, this is a letter of about one hundred bytes, with words in it that say \
                nothing at all: 0123456.";
    Email {
        id,
        to: "user@example.com".to_owned(),
        body: body.to_owned(),
    }
}

static DONE: AtomicU64 = AtomicU64::new(0);
static TIMED: AtomicBool = AtomicBool::new(false);
static TOOK: Mutex<Vec<Duration>> = Mutex::new(Vec::new());

/// What a job does: it counts.
pub fn handle(email: &Email) {
    std::hint::black_box(email.id);
    if TIMED.load(Relaxed) {
        let sent = SystemTime::UNIX_EPOCH + Duration::from_nanos(email.id);
        let took = sent.elapsed().unwrap_or_default();
        TOOK.lock().expect("nobody panics with it").push(took);
    }
    DONE.fetch_add(1, Relaxed);
}

/// How many jobs this process has run.
pub(crate) fn done() -> u64 {
    DONE.load(Relaxed)
}

/// From now on jobs are those of [`stamped`].
pub(crate) fn time_jobs() {
    TIMED.store(true, Relaxed);
}

/// A job that says when it was sent. By the wall clock, as that is the same in two processes.
pub(crate) fn stamped() -> Email {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .expect("after 1970");
    email(u64::try_from(now.as_nanos()).expect("before 2554"))
}

/// How long the jobs took from there to the start of the handler.
pub(crate) fn latencies() -> Vec<Duration> {
    TOOK.lock().expect("nobody panics with it").clone()
}
