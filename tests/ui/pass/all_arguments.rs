use std::time::Duration;

use bgjob::{JobItem, prelude::*};

#[job(
    name = "mail:welcome",
    aliases = ["welcome", "send_welcome_mail"],
    queue = "mail.out",
    priority = "critical",
    max_attempts = 7,
    max_crashes = 1,
    backoff = "exponential(5s, max 1h, no jitter)",
    timeout = "1m 30s",
    expires = "500ms",
    deadline = "2d",
    retain = "0s",
    version = 3,
    upgrade = newer,
)]
async fn send_welcome(_: u64) -> Outcome<u64> {
    Outcome::Success(1)
}

fn newer(value: serde_json::Value, version: u32) -> Result<serde_json::Value, std::io::Error> {
    assert!(version < 3);
    Ok(value)
}

fn main() {
    let job = send_welcome::descriptor();
    assert_eq!(send_welcome::NAME, "mail:welcome");
    assert_eq!(job.names().count(), 3);
    assert_eq!(job.timeout(), Duration::from_secs(90));
    assert_eq!(job.expires(), Some(Duration::from_millis(500)));
    assert_eq!(job.retain(), Duration::ZERO);
    assert!(job.upgrade().is_some());
}
