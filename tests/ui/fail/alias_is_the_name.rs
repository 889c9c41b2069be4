use bgjob::prelude::*;

#[job(aliases = ["hello", "greet"])]
async fn greet(_: String) {}

fn main() {}
