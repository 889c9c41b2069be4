use bgjob::prelude::*;

#[job]
async fn greet(_: JobContext) {}

fn main() {}
