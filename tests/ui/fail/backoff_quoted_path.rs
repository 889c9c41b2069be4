use bgjob::prelude::*;

#[job(backoff = "my_waits")]
async fn greet(_: String) {}

fn main() {}
