use bgjob::prelude::*;

#[job(backoff = "exponential")]
async fn greet(_: String) {}

fn main() {}
