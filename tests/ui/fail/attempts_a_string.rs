use bgjob::prelude::*;

#[job(max_attempts = "5")]
async fn greet(_: String) {}

fn main() {}
