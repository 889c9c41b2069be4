use std::time::{Duration, SystemTime};

use bgjob::{Priority, assert_enqueued, refute_enqueued, testing::TestJobs};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Welcome {
    user: u64,
    tags: Vec<String>,
}

#[bgjob::job]
async fn send_welcome(_: Welcome) {}

async fn test(jobs: TestJobs, user: u64) {
    assert_enqueued!(jobs, send_welcome);
    assert_enqueued!(jobs, send_welcome,);
    assert_enqueued!(jobs, send_welcome, Welcome { user, tags: vec![] }, queue = "default");
    assert_enqueued!(jobs, send_welcome, |to| to.user == user);
    assert_enqueued!(jobs, send_welcome, |to: &Welcome| to.user == 7, tag = "sign-up");
    assert_enqueued!(jobs, send_welcome, move |to| to.user == user, count = 1);
    assert_enqueued!(jobs, send_welcome, |to| -> bool { to.user == user });
    assert_enqueued!(jobs, send_welcome, |Welcome { user, .. }: &Welcome| *user == 7);
    assert_enqueued!(jobs, send_welcome, |(Welcome { user: 7 | 8, .. } | Welcome { .. })| true);
    assert_enqueued!(jobs, send_welcome, |to| to.tags.iter().any(|tag| tag == "a"), count = 2);
    assert_enqueued!(jobs, send_welcome, delay = Duration::ZERO, at = SystemTime::now());
    refute_enqueued!(jobs, send_welcome, |_: &_| true, priority = Priority::High);
}

fn main() {
    let _ = test;
}
