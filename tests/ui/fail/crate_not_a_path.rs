use bgjob::prelude::*;

#[job(crate = "bgjob")]
async fn greet(_: String) {}

fn main() {}
