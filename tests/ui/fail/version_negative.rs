use bgjob::prelude::*;

#[job(version = -1)]
async fn greet(_: String) {}

fn main() {}
