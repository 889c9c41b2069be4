use bgjob::prelude::*;

#[job]
async fn greet(_: String, _: &JobContext) {}

fn main() {}
