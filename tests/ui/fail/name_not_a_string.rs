use bgjob::prelude::*;

#[job(name = greeting)]
async fn greet(_: String) {}

fn main() {}
