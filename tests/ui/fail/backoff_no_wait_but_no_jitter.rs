use bgjob::prelude::*;

#[job(backoff = "steps(no jitter)")]
async fn greet(_: String) {}

fn main() {}
