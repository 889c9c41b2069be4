//! A small app, as a user of the kit would have one.

use std::{
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use bgjob::{BoxError, JobManager, extract::CancellationToken, prelude::*};
use serde::{Deserialize, Serialize};

pub(crate) const HOUR: Duration = Duration::from_secs(3600);
pub(crate) const DAY: Duration = Duration::from_secs(24 * 3600);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Welcome {
    pub(crate) user: u64,
    pub(crate) email: String,
}

pub(crate) fn welcome(user: u64, email: &str) -> Welcome {
    let email = email.to_owned();
    Welcome { user, email }
}

/// Remembers what was sent, and fails as often as it is told to.
#[derive(Debug, Default)]
pub(crate) struct Mailer {
    pub(crate) failures: Mutex<u32>,
    sent: Mutex<Vec<String>>,
}

impl Mailer {
    pub(crate) fn failing(times: u32) -> Self {
        let failures = Mutex::new(times);
        Self {
            failures,
            ..Self::default()
        }
    }

    pub(crate) fn sent(&self) -> MutexGuard<'_, Vec<String>> {
        self.sent.lock().unwrap()
    }
}

#[job(queue = "mail", max_attempts = 3, backoff = "exponential(5s)")]
pub(crate) async fn send_welcome(to: Welcome, mailer: State<Mailer>) -> Result<usize, JobError> {
    if !to.email.contains('@') {
        return Err(JobError::abort("this is no address"));
    }
    let mut failures = mailer.failures.lock().unwrap();
    if *failures > 0 {
        *failures -= 1;
        return Err(JobError::retry("the mail server is down"));
    }
    mailer.sent().push(to.email);
    Ok(mailer.sent().len())
}

/// Enqueues two jobs of its own.
#[job]
pub(crate) async fn tell_friends(user: u64, jobs: State<JobManager>) -> Result<(), BoxError> {
    for friend in 1..=2 {
        let to = welcome(user, &format!("friend-{friend}@of-{user}"));
        send_welcome::enqueue(&jobs, to).await?;
    }
    Ok(())
}

/// Asks again every hour, until it has asked three times.
#[job]
pub(crate) async fn poll_invoice(_: u64, asked: State<Mutex<u32>>) -> Outcome<&'static str> {
    let mut asked = asked.lock().unwrap();
    *asked += 1;
    if *asked < 3 {
        Outcome::Snooze(HOUR)
    } else {
        Outcome::Success("paid")
    }
}

#[job(timeout = "30s", max_attempts = 1)]
pub(crate) async fn hang(_: (), ctx: JobContext) {
    ctx.report(Progress::of(1, 2));
    std::future::pending().await
}

#[job(retain = "0s")]
pub(crate) async fn explode(with: String) {
    assert!(with.is_empty(), "{with}");
}

#[job(priority = "high", expires = "1h")]
pub(crate) async fn urgent(_: (), token: CancellationToken) -> Outcome<bool> {
    Outcome::Success(token.is_cancelled())
}

#[job(blocking)]
pub(crate) fn hash(text: String) -> Result<usize, JobError> {
    Ok(text.len())
}

/// Enqueues itself.
#[job]
pub(crate) async fn forever(_: (), jobs: State<JobManager>) -> Result<(), BoxError> {
    let again: std::pin::Pin<Box<dyn Future<Output = _> + Send>> =
        Box::pin(forever::enqueue(&jobs, ()).into_future());
    again.await?;
    Ok(())
}
