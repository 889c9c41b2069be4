use bgjob::{assert_enqueued, testing::TestJobs};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Welcome {
    user: u64,
}

#[bgjob::job]
async fn send_welcome(_: Welcome) {}

async fn test(jobs: TestJobs) {
    assert_enqueued!(jobs, send_welcome, delay = 60);
}

fn main() {
    let _ = test;
}
