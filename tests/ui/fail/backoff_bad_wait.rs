use bgjob::prelude::*;

#[job(backoff = "steps(1s, 10, 1m)")]
async fn greet(_: String) {}

fn main() {}
