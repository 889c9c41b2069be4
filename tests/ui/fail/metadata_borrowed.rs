use bgjob::prelude::*;

#[job]
async fn greet(_: &str) {}

fn main() {}
