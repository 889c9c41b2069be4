use bgjob::prelude::*;

#[job(max_attempts = -1)]
async fn greet(_: String) {}

fn main() {}
