use bgjob::prelude::*;

#[job(blocking)]
async fn greet(_: String) {}

fn main() {}
