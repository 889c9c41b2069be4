use bgjob::prelude::*;

#[job]
async fn greet(_: String) {}

fn enqueue(jobs: &JobManager) {
    let _ = greet::enqueue(jobs, 7);
}

fn main() {}
