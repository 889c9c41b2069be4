use bgjob::prelude::*;

#[job(timeout = "30")]
async fn greet(_: String) {}

fn main() {}
