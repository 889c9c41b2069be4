use bgjob::prelude::*;

#[job(queue =, name = "greeting")]
async fn greet(_: String) {}

fn main() {}
