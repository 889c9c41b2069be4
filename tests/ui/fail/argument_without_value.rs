use bgjob::prelude::*;

#[job(queue)]
async fn greet(_: String) {}

fn main() {}
