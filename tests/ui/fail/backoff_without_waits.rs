use bgjob::prelude::*;

#[job(backoff = "steps()")]
async fn greet(_: String) {}

fn main() {}
