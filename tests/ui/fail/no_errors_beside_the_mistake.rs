use bgjob::prelude::*;

#[job(timeout = "30")]
async fn greet(_: String) {}

// What uses the job is not blamed for its attribute.
async fn enqueue(jobs: &JobManager) {
    let _ = greet::enqueue(jobs, greet::NAME.to_owned());
    greet(String::new()).await;
}

fn main() {}
