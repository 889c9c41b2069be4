use bgjob::prelude::*;

#[job(backoff = "constant(1s, max 1m)")]
async fn greet(_: String) {}

fn main() {}
