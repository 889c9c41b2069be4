use bgjob::prelude::*;

#[job(queue = ".mail")]
async fn greet(_: String) {}

fn main() {}
