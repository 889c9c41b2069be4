use bgjob::prelude::*;

#[job(aliases = "hello")]
async fn greet(_: String) {}

fn main() {}
