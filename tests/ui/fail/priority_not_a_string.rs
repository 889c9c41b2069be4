use bgjob::prelude::*;

#[job(priority = Priority::High)]
async fn greet(_: String) {}

fn main() {}
