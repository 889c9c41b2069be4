use bgjob::prelude::*;

#[job(max_crashes = 0)]
async fn greet(_: String) {}

fn main() {}
