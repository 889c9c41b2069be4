use bgjob::{assert_enqueued, testing::TestJobs};

async fn send_welcome(_: u64) {}

async fn test(jobs: TestJobs) {
    assert_enqueued!(jobs, send_welcome);
}

fn main() {
    let _ = (test, send_welcome);
}
