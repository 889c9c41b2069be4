use bgjob::prelude::*;

#[job(aliases = ["hello", "hello"])]
async fn greet(_: String) {}

fn main() {}
