use bgjob::prelude::*;

#[job(timeout = "1h 30min")]
async fn greet(_: String) {}

fn main() {}
