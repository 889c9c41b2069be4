use bgjob::prelude::*;

#[job(max_attempts = 1001)]
async fn greet(_: String) {}

fn main() {}
