use bgjob::prelude::*;

#[job(backoff = "exponential(5m, max 1m)")]
async fn greet(_: String) {}

fn main() {}
