use bgjob::prelude::*;

#[job(max_attempts = 0)]
async fn greet(_: String) {}

fn main() {}
