use bgjob::prelude::*;

#[job(name = "")]
async fn greet(_: String) {}

fn main() {}
