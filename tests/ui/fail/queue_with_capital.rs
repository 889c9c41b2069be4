use bgjob::prelude::*;

#[job(queue = "Mail")]
async fn greet(_: String) {}

fn main() {}
