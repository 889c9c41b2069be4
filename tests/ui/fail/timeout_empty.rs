use bgjob::prelude::*;

#[job(timeout = "")]
async fn greet(_: String) {}

fn main() {}
