use bgjob::prelude::*;

#[job(backoff = "exponential(0s)")]
async fn greet(_: String) {}

fn main() {}
