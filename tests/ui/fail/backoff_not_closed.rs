use bgjob::prelude::*;

#[job(backoff = "constant(1s")]
async fn greet(_: String) {}

fn main() {}
