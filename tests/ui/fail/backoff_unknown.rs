use bgjob::prelude::*;

#[job(backoff = "exponental(5s)")]
async fn greet(_: String) {}

fn main() {}
