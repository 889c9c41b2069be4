use bgjob::prelude::*;

#[job(priority = "hihg")]
async fn greet(_: String) {}

fn main() {}
