use bgjob::prelude::*;

#[job(timeout = "0s")]
async fn greet(_: String) {}

fn main() {}
