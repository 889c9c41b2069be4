use bgjob::prelude::*;

#[job]
async fn greet(_: impl Into<String>) {}

fn main() {}
