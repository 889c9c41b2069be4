use bgjob::{refute_enqueued, testing::TestJobs};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Welcome {
    user: u64,
}

#[bgjob::job]
async fn send_welcome(_: Welcome) {}

async fn test(jobs: TestJobs) {
    refute_enqueued!(jobs, send_welcome, |to| to.user == 7, count = 1);
}

fn main() {
    let _ = test;
}
