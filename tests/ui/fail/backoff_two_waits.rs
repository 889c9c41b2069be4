use bgjob::prelude::*;

#[job(backoff = "linear(1s, 2s)")]
async fn greet(_: String) {}

fn main() {}
